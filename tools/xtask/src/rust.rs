//! The Rust side of the checks: formatting, lints, tests, documentation.
#![forbid(unsafe_code)]

use anyhow::{Result, ensure};

use crate::ctx::Ctx;
use crate::tally::Tally;
use crate::toolchain::{self, Road};

/// The leaf crate has its own panic handler, which only `panic = "abort"`
/// allows: it is built with the profile `dist` and has no tests of its own.
const LEAF: &str = "pagelm-c";

/// Workspaces of their own.
const APART: [&str; 4] =
    ["bindings/wasm-bindgen", "examples/cortex-m", "examples/filter", "tools/bindgen"];

pub fn format(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    let result = ctx.job("fmt", "cargo").args(["fmt", "--all", "--check"]).run();
    tally.check("cargo fmt --check", result.map(drop));
    for folder in APART {
        let job = ctx.job("fmt-apart", "cargo").dir(&ctx.path(folder));
        let result = job.args(["fmt", "--all", "--check"]).run();
        tally.check(&format!("cargo fmt --check in {folder}"), result.map(drop));
    }
    Ok(())
}

pub fn lint(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    let deny = ["--", "-D", "warnings"];
    let host = ctx.job("clippy-host", "cargo").args([
        "clippy",
        "--workspace",
        "--exclude",
        LEAF,
        "--all-targets",
        "--features",
        "pagelm/capi",
    ]);
    tally.check("clippy, everything but the leaf crate", host.args(deny).run().map(drop));
    let leaf =
        ctx.job("clippy-leaf", "cargo").args(["clippy", "--package", LEAF, "--profile", "dist"]);
    tally.check("clippy, the leaf crate", leaf.args(deny).run().map(drop));
    for (name, flags) in [("scalar", ""), ("simd128", "-Ctarget-feature=+simd128")] {
        let what = format!("clippy, wasm {name}");
        let result = toolchain::prepare(ctx, Road::Rustup).and_then(|_| {
            let job = Road::Rustup
                .cargo(ctx, &format!("clippy-wasm-{name}"), "clippy")
                .env("RUSTFLAGS", flags);
            job.args(["--package", LEAF, "--features", "_check", "--profile", "dist"])
                .args(deny)
                .run()
        });
        tally.check(&what, result.map(drop));
    }
    Ok(())
}

/// Unit tests, integration tests (layering among them) and documentation tests.
pub fn test(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    let output = ctx
        .job("cargo-test", "cargo")
        .args(["test", "--workspace", "--exclude", LEAF, "--no-fail-fast"])
        // The leaf crate's feature: without it tests/capi and tests/no_alloc are empty.
        .args(["--features", "pagelm/capi"])
        .finish()?;
    let (passed, failed, ignored) = totals(&output.stdout);
    if passed + failed > 0 {
        tally.add("cargo test", passed, failed);
        tally.check("no test is ignored", none_ignored(ignored));
    }
    // A crash or a compile error has no line to count.
    output.explain(failed > 0)
}

fn none_ignored(ignored: usize) -> Result<()> {
    ensure!(ignored == 0, "{ignored} ignored tests");
    Ok(())
}

pub fn document(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    let job = ctx.job("doc", "cargo").env("RUSTDOCFLAGS", "-D warnings");
    let result = job.args(["doc", "--no-deps", "--package", "pagelm", "--features", "capi"]).run();
    tally.check("cargo doc without a warning", result.map(drop));
    Ok(())
}

/// Sums libtest's result lines: passed, failed, ignored.
pub fn totals(text: &str) -> (usize, usize, usize) {
    let mut sum = (0, 0, 0);
    for line in text.lines().filter_map(|line| line.trim().strip_prefix("test result: ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let before = |label: &str| {
            words
                .windows(2)
                .find(|w| w[1] == label)
                .and_then(|w| w[0].parse::<usize>().ok())
                .unwrap_or(0)
        };
        sum = (sum.0 + before("passed;"), sum.1 + before("failed;"), sum.2 + before("ignored;"));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtest_lines_are_summed() {
        let text = "running 3 tests\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            noise\ntest result: FAILED. 1 passed; 2 failed; 4 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        assert_eq!(totals(text), (4, 2, 4));
        assert_eq!(totals("error: could not compile"), (0, 0, 0));
    }
}
