//! JavaScript: the loader's tests in Node.js, its types, and the browsers.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use crate::ctx::Ctx;
use crate::demo;
use crate::hosts;
use crate::process::Job;
use crate::serve::{Server, Site};
use crate::setup::{Browser, node, npm_program, web_tools};
use crate::tally::Tally;
use crate::wasm::{self, Variant};

const TESTS: &str = "bindings/js/test";
const TYPES: &str = "bindings/js/tsconfig.json";

/// Puts the modules of the best road that was built beside the loader.
pub fn ship(ctx: &Ctx) -> Result<()> {
    for variant in Variant::SHIPPED {
        wasm::ship(ctx, variant, &wasm::best(ctx, variant)?)?;
    }
    Ok(())
}

/// `node --test` on every test file of the loader.
pub fn node_tests(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    println!("  Node.js {}", node(ctx)?);
    ship(ctx)?;
    let files = test_files(&ctx.path(TESTS))?;
    ensure!(!files.is_empty(), "{TESTS} holds no *.test.mjs");
    let output = ctx
        .job("node-test", "node")
        .args(["--test", "--test-reporter=tap"])
        .args(&files)
        .limit(900)
        .finish()?;
    let count = |word: &str| tap_total(&output.stdout, word);
    let (passed, failed, skipped) =
        (count("pass"), count("fail") + count("cancelled"), count("skipped") + count("todo"));
    tally.add("node --test", passed, failed);
    tally.check(
        "no test is skipped",
        if skipped == 0 { Ok(()) } else { Err(anyhow!("{skipped} skipped")) },
    );
    ensure!(passed + failed > 0, "node --test ran nothing");
    output.explain(failed > 0)
}

/// Seeds of the kernel suite's random weights.
const SEEDS: [&str; 4] = ["1", "2", "3", "1000003"];
/// Two instruction sets by four formats, the half floats, and the functions.
const CASES: u64 = 10;

/// The kernel suite, scalar against simd128 and against relaxed-simd, inside
/// wasm modules, in Node.js and in both browsers: a lowering of its own in each.
pub fn kernels(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    node(ctx)?;
    for variant in Variant::CHECKS {
        let module = wasm::best(ctx, variant)?;
        for host in [None, Some(Browser::Chromium), Some(Browser::Firefox)] {
            let name = host.map_or("Node.js", Browser::name);
            let label = format!("kernel suite in {}, {name}", variant.file());
            match suite(ctx, &module, host) {
                Ok((passed, failed)) => tally.add(&label, passed, failed),
                Err(error) => tally.record(&label, &error),
            }
        }
    }
    Ok(())
}

/// How many of the suite's cases pass and fail in Node.js or a browser.
fn suite(ctx: &Ctx, module: &Path, browser: Option<Browser>) -> Result<(usize, usize)> {
    let mut job = ctx.job("kernels", "node");
    let script = ctx.path("tools/web/kernels.mjs");
    job = job.arg(script).arg(browser.map_or("node", Browser::name)).arg(module);
    if let Some(browser) = browser {
        web_tools(ctx)?;
        job = for_browser(ctx, browser, job)?;
    }
    let answer: Value = serde_json::from_str(&job.args(SEEDS).limit(300).run()?.stdout)?;
    let (cases, failed) = (answer["cases"].as_u64(), answer["failed"].as_array());
    let cases = cases.context("no number of cases")?;
    let failed = failed.context("no list of failures")?;
    ensure!(cases >= CASES, "only {cases} cases: is simd128 among them?");
    failed.iter().for_each(|pair| println!("          fails: [case, seed] {pair}"));
    Ok((cases as usize * SEEDS.len() - failed.len(), failed.len()))
}

fn test_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let shown = dir.display().to_string();
    let entries = fs::read_dir(dir)
        .context(shown)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    let is_test = |path: &PathBuf| {
        path.to_string_lossy().ends_with(".test.mjs")
            || path.to_string_lossy().ends_with(".test.js")
    };
    let mut files: Vec<PathBuf> = entries.into_iter().filter(is_test).collect();
    files.sort();
    Ok(files)
}

/// The number in TAP's closing line `# word N`.
pub fn tap_total(text: &str, word: &str) -> usize {
    let label = format!("# {word} ");
    text.lines()
        .rev()
        .find_map(|line| line.strip_prefix(&label))
        .and_then(|n| n.trim().parse().ok())
        .unwrap_or(0)
}

/// The declarations against a program that uses them.
pub fn types(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    ensure!(ctx.path(TYPES).is_file(), "{TYPES} is missing");
    let result = npm_program(ctx, "tsc", "typescript/bin/tsc")?
        .args(["--noEmit", "--project"])
        .arg(ctx.path(TYPES))
        .run();
    tally.check("tsc accepts pagelm.d.ts and what uses it", result.map(drop));
    Ok(())
}

/// The loader and the demo page, in both browsers.
pub fn browsers(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    web_tools(ctx)?;
    ship(ctx)?;
    let command_line = hosts::command_line(ctx)?;
    for browser in [Browser::Chromium, Browser::Firefox] {
        let name = browser.name();
        let shots = ctx.target.join("screenshots").join(name);
        if let Err(error) = loader(ctx, tally, browser) {
            tally.record(&format!("{name}: the loader's browser tests"), &error);
        }
        tally.check(
            &format!("{name}: the demo page, used as a visitor would"),
            demo::drive(ctx, browser, &shots, false, Some(&command_line)),
        );
    }
    Ok(())
}

/// The browser tests of tools/web/page.mjs, one by one.
fn loader(ctx: &Ctx, tally: &mut Tally, browser: Browser) -> Result<()> {
    let answer = in_browser(ctx, browser, "tests", &format!("/{}", hosts::MODEL))?;
    let results = answer.as_array().context("the page's answer is no list")?;
    ensure!(!results.is_empty(), "the page ran no test");
    for result in results {
        let name = result["name"].as_str().unwrap_or("a test without a name");
        let outcome = match result["error"].as_str() {
            None => Ok(()),
            Some(error) => Err(anyhow!("{error}")),
        };
        tally.check(&format!("{}: {name}", browser.name()), outcome);
    }
    Ok(())
}

/// Has a page of ours do `what` in a headless browser; its answer.
pub fn in_browser(ctx: &Ctx, browser: Browser, what: &str, argument: &str) -> Result<Value> {
    web_tools(ctx)?;
    let server = Server::start(test_site(ctx), 0)?;
    let job = ctx
        .job(&format!("page-{}-{what}", browser.name()), "node")
        .arg(ctx.path("tools/web/in-browser.mjs"));
    let job = job.args([&server.address, what, argument]).quiet();
    let output = for_browser(ctx, browser, job)?.limit(300).run()?;
    serde_json::from_str(&output.stdout)
        .with_context(|| format!("the page's answer: {}", output.stdout))
}

/// A job of tools/web with the browser it is to use, which is installed if need be.
fn for_browser(ctx: &Ctx, browser: Browser, job: Job) -> Result<Job> {
    let program = browser.find_or_install(ctx)?;
    Ok(job.env("PAGELM_BROWSER", browser.name()).env(browser.variable(), program))
}

/// What pages of the tests may read.
pub fn test_site(ctx: &Ctx) -> Site {
    let folders = vec!["bindings/js", "examples/web", "examples/models", "tests/data", "tools/web"];
    Site { root: ctx.root.clone(), folders, home: "/tools/web/blank.html", isolate: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    pub fn tap_totals_come_from_the_closing_lines() {
        let text = "# pass 99\nok 1 - a\n# tests 5\n# pass 3\n# fail 2\n# skipped 0\n";
        assert_eq!(
            (tap_total(text, "pass"), tap_total(text, "fail"), tap_total(text, "todo")),
            (3, 2, 0)
        );
    }
}
