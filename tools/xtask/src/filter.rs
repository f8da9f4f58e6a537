//! examples/filter: the smallest module that runs a network, against PyTorch's outputs.
#![forbid(unsafe_code)]

use std::fs;

use anyhow::{Result, ensure};

use crate::ctx::Ctx;
use crate::setup::node;
use crate::tally::Tally;
use crate::toolchain::{self, Choice, Road};
use crate::wasm::{self, Variant};
use crate::{hosts, web};

pub fn step(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    println!("  Node.js {}", node(ctx)?);
    let road = toolchain::choose(ctx, Choice::Auto)?;
    let module = wasm::build(ctx, road, Variant::Filter)?;
    let folder = ctx.target.join("filter");
    fs::create_dir_all(&folder)?;
    if road == Road::Rustup {
        let job = road.cargo(ctx, "filter-clippy", "clippy").dir(&ctx.path("examples/filter"));
        let job = job.env("CARGO_TARGET_DIR", folder.join("clippy"));
        let result = job.args(["--profile", "dist", "--", "-D", "warnings"]).run();
        tally.check("clippy, examples/filter", result.map(drop));
    }
    let model = folder.join("denoise.plm");
    ctx.job("filter-pack", &hosts::command_line(ctx)?.to_string_lossy())
        .arg("pack")
        .arg(ctx.path("examples/models/denoise.gguf"))
        .arg("--output")
        .arg(&model)
        .quiet()
        .run()?;
    let output = ctx
        .job("filter-test", "node")
        .args(["--test", "--test-reporter=tap"])
        .arg(ctx.path("examples/filter/filter.test.mjs"))
        .env("FILTER_WASM", &module)
        .env("FILTER_MODEL", &model)
        .finish()?;
    let (passed, failed) =
        (web::tap_total(&output.stdout, "pass"), web::tap_total(&output.stdout, "fail"));
    tally.add("examples/filter in Node.js", passed, failed);
    ensure!(passed + failed > 0, "node --test ran nothing");
    output.explain(failed > 0)
}
