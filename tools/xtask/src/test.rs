//! `cargo xtask test`: every check, in order, each step timed.
#![forbid(unsafe_code)]

use std::time::Instant;

use anyhow::{Result, bail};

use crate::ctx::Ctx;
use crate::tally::Tally;
use crate::toolchain::{self, Road};
use crate::wasm::{self, Variant};
use crate::{
    aarch64, bench, bindgen, carry, checks, cortex_m, cpp, emscripten, filter, header, hosts,
    installed, instructions, native, package, rust, setup, sizes, train, web,
};

struct Step {
    name: &'static str,
    what: &'static str,
    run: fn(&Ctx, &mut Tally) -> Result<()>,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", what: "formatting", run: rust::format },
    Step {
        name: "clippy",
        what: "lints as errors, on this machine's target and on wasm",
        run: rust::lint,
    },
    Step { name: "rust", what: "cargo test of the workspace", run: rust::test },
    Step { name: "aarch64", what: "the kernels on emulated AArch64", run: aarch64::step },
    Step {
        name: "instructions",
        what: "instruction counts of the native kernels",
        run: instructions::step,
    },
    Step { name: "doc", what: "documentation of the core", run: rust::document },
    Step { name: "header", what: "include/pagelm.h against the source", run: header::step },
    Step {
        name: "wasm-rustup",
        what: "the modules, by rustup's prebuilt target",
        run: wasm_rustup,
    },
    Step { name: "wasm-debian", what: "the modules, by Debian's packages alone", run: wasm_debian },
    Step { name: "kernels", what: "the kernel suite inside a wasm module", run: web::kernels },
    Step { name: "native", what: "C99 and C++17 programs, plain and sanitized", run: native::step },
    Step { name: "cpp", what: "pagelm.hpp with and without exceptions, sanitized", run: cpp::step },
    Step {
        name: "installed",
        what: "the installed package by make, CMake and pkg-config",
        run: installed::step,
    },
    Step { name: "node", what: "the loader's tests in Node.js", run: web::node_tests },
    Step { name: "types", what: "the loader's TypeScript declarations", run: web::types },
    Step {
        name: "browsers",
        what: "the loader and the page in Chromium and Firefox",
        run: web::browsers,
    },
    Step {
        name: "emscripten",
        what: "a C++ program and pages by Emscripten, the library by both roads",
        run: emscripten::step,
    },
    Step { name: "hosts", what: "the same tokens from every host", run: hosts::step },
    Step {
        name: "package",
        what: "the npm package in bundlers, browsers, workers, an extension",
        run: package::step,
    },
    Step {
        name: "carry",
        what: "states and snapshots carried between native and wasm",
        run: carry::step,
    },
    Step { name: "cortex-m", what: "texts on an emulated Cortex-M4", run: cortex_m::step },
    Step {
        name: "filter",
        what: "a filter in 10 KB of wasm, by the Rust library alone",
        run: filter::step,
    },
    Step { name: "bench", what: "the benchmark rig, with pagelm alone", run: bench::step },
    Step { name: "train", what: "the training scripts, and shortened runs", run: train::step },
    Step {
        name: "bindgen",
        what: "the wasm-bindgen package, its page and its allocators",
        run: bindgen::step,
    },
    Step { name: "sizes", what: "budgets and the size table", run: sizes::step },
    Step { name: "lockfiles", what: "npm's lock files", run: lockfile },
];

pub fn list() {
    for step in STEPS {
        println!("{:<12} {}", step.name, step.what);
    }
}

/// Runs the steps, or those named. True when all is well.
pub fn run(ctx: &Ctx, names: &[String]) -> Result<bool> {
    if let Some(unknown) = names.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        bail!("there is no step `{unknown}`; `cargo xtask test --list` names them");
    }
    let chosen: Vec<&Step> = STEPS
        .iter()
        .filter(|step| names.is_empty() || names.iter().any(|name| name == step.name))
        .collect();
    let begin = Instant::now();
    let mut tally = Tally::default();
    let mut times = Vec::new();
    if names.is_empty() {
        println!("==== set-up");
        setup::all(ctx);
        times.push(("set-up", begin.elapsed()));
    }
    for (i, step) in chosen.iter().enumerate() {
        println!("\n==== {}/{} {}: {}", i + 1, chosen.len(), step.name, step.what);
        let start = Instant::now();
        let failed = tally.failed;
        if let Err(error) = (step.run)(ctx, &mut tally) {
            tally.record(step.name, &error);
        }
        let state = if tally.failed > failed { "FAILED" } else { "done" };
        println!("  {state} in {:.1} s", start.elapsed().as_secs_f64());
        times.push((step.name, start.elapsed()));
    }
    println!("\n==== times");
    for (name, time) in times {
        println!("  {name:<12} {:7.1} s", time.as_secs_f64());
    }
    println!("  {:<12} {:7.1} s", "together", begin.elapsed().as_secs_f64());
    Ok(summary(ctx, tally))
}

/// Names what went wrong; the very last line has the totals and nothing else.
fn summary(ctx: &Ctx, mut tally: Tally) -> bool {
    if !tally.not_run.is_empty() {
        println!("\n==== NOT RUN on this machine");
        tally.not_run.iter().for_each(|check| println!("  {check}"));
    }
    let owed = tally.not_run.iter().filter(|check| !check.excused).count();
    if owed > 0 && ctx.strict {
        println!("  (CI is set: {owed} of them count as failures)");
        tally.failed += owed;
    } else if owed > 0 {
        println!("  (not counted below; with CI=true {owed} of them are failures)");
    }
    if !tally.failures.is_empty() {
        println!("\n==== FAILED");
        tally.failures.iter().for_each(|line| println!("  {line}"));
    }
    println!("  logs: {}", ctx.show(&ctx.logs));
    println!("{} passed, {} failed", tally.passed, tally.failed);
    tally.failed == 0
}

fn wasm_rustup(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    wasm_road(ctx, tally, Road::Rustup, &[&Variant::SHIPPED[..], &Variant::CHECKS].concat())
}

fn wasm_debian(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    // The kernel suite's modules are needed once, from the first road there is.
    let suite = Variant::CHECKS.iter().all(|check| wasm::path(ctx, Road::Rustup, *check).is_file());
    let checks = if suite { &[][..] } else { &Variant::CHECKS };
    wasm_road(ctx, tally, Road::Debian, &[&Variant::SHIPPED[..], checks].concat())
}

/// Builds and examines modules. An earlier run's files are removed first, so
/// that a failing build cannot pass on an old module.
fn wasm_road(ctx: &Ctx, tally: &mut Tally, road: Road, variants: &[Variant]) -> Result<()> {
    let files = variants.iter().map(|variant| wasm::path(ctx, road, *variant));
    files.filter(|path| path.exists()).try_for_each(std::fs::remove_file)?;
    println!("  {}", toolchain::prepare(ctx, road)?);
    for &variant in variants {
        let built = wasm::build(ctx, road, variant);
        let Some(path) = tally.value(&format!("{} {} builds", road.name(), variant.file()), built)
        else {
            continue;
        };
        if !Variant::CHECKS.contains(&variant) {
            let linked = wasm::linked(ctx, road, variant);
            checks::shipped(ctx, tally, road.name(), variant, &path, &linked)?;
        }
    }
    Ok(())
}

/// A lock file must say what is installed, not from which machine's mirror.
fn lockfile(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    for file in ["tools/web/package-lock.json", "tools/bench/package-lock.json"] {
        let text = std::fs::read_to_string(ctx.path(file))?;
        let result = if text.contains("\"resolved\"") {
            Err(anyhow::anyhow!("it names a registry's host"))
        } else {
            Ok(())
        };
        tally.check(&format!("{file} names no host"), result);
    }
    Ok(())
}
