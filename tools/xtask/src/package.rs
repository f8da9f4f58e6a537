//! The npm package as its users meet it: packed, installed, bundled, and run in
//! Node.js, Chromium, Firefox and WebKitGTK. tools/web/package does the work.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use crate::ctx::Ctx;
use crate::process::find;
use crate::setup::{Browser, apt_install, web_tools};
use crate::tally::{Tally, not_run};
use crate::web;

const RUN: &str = "tools/web/package/run.mjs";
const SIZES: &str = "tools/web/package/sizes.mjs";
/// The places of run.mjs that need WebKitGTK.
const WEBKIT: &str = "webkit";

pub fn step(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    web_tools(ctx)?;
    web::ship(ctx)?;
    let folder = ctx.target.join("npm-package");
    let mut job = ctx.job("package", "node").arg(ctx.path(RUN)).arg(&folder).limit(1200);
    for browser in [Browser::Chromium, Browser::Firefox] {
        job = job.env(browser.variable(), browser.find_or_install(ctx)?);
    }
    match mini_browser(ctx) {
        Ok(path) => job = job.env("PAGELM_MINIBROWSER", path),
        Err(error) => {
            tally.record("the page in WebKitGTK", &error);
            job = job.arg(format!("-{WEBKIT}"));
        }
    }
    let output = job.finish()?;
    let mut lines = 0;
    for line in output.stdout.lines() {
        let check: Value = serde_json::from_str(line).with_context(|| line.to_string())?;
        let name = check["name"].as_str().context("a check without a name")?;
        let result = match check["error"].as_str() {
            None => Ok(()),
            Some(error) => Err(anyhow!("{error}")),
        };
        tally.check(name, result);
        lines += 1;
    }
    output.require()?;
    ensure!(lines > 1, "{RUN} checked nothing");
    pictures(ctx, &folder.join("screenshots"))
}

fn pictures(ctx: &Ctx, dir: &Path) -> Result<()> {
    let mut shots =
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    shots.sort();
    ensure!(!shots.is_empty(), "no screenshot in {}", dir.display());
    println!("  screenshots: {} in {}", shots.len(), ctx.show(dir));
    Ok(())
}

/// Writes the package's part of docs/SIZES.md.
pub fn write_sizes(ctx: &Ctx) -> Result<()> {
    web_tools(ctx)?;
    ctx.job("package-sizes", "node").arg(ctx.path(SIZES)).arg("--write").run().map(drop)
}

/// WebKitGTK's browser for tests, with its driver and a display for both.
fn mini_browser(ctx: &Ctx) -> Result<PathBuf> {
    const PACKAGES: [&str; 4] = ["webkit2gtk-driver", "libwebkit2gtk-4.1-0", "xvfb", "xauth"];
    let programs = ["WebKitWebDriver", "xvfb-run", "xauth"];
    if programs.iter().any(|name| find(name).is_none()) || find_mini_browser().is_none() {
        apt_install(ctx, &PACKAGES, "WebKitGTK with its driver, and a display without a screen")?;
    }
    find_mini_browser().ok_or_else(|| not_run("the packages brought no MiniBrowser"))
}

/// Debian keeps it in the library's folder, which has the machine's name in it.
fn find_mini_browser() -> Option<PathBuf> {
    let places = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut found = places.map(|place| place.path().join("webkit2gtk-4.1/MiniBrowser"));
    found.find(|path| path.is_file())
}
