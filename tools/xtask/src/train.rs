//! The training scripts: their tests, and shortened runs that train, convert
//! and generate with the engine.
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::ctx::Ctx;
use crate::hosts;
use crate::process::find;
use crate::setup::apt_install;
use crate::tally::Tally;

/// Debian's PyTorch has no CUDA in it: 150 MB with all it needs, where PyPI's has 3 GB.
const PACKAGES: [&str; 3] = ["python3-torch", "python3-numpy", "python3-venv"];
const IMPORTS: &str = "import torch, numpy, safetensors, tokenizers; print(torch.__version__)";

pub fn step(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    let pagelm = hosts::command_line(ctx)?;
    let python = python(ctx)?;
    let tests = ctx
        .job("train-tests", &python.display().to_string())
        .args(["-m", "unittest", "-v", "test_train"])
        .dir(&ctx.path("tools/train"))
        .env("PAGELM", pagelm)
        .env("OMP_NUM_THREADS", "1")
        .finish()?;
    let count = |mark: &str| tests.log.lines().filter(|line| line.ends_with(mark)).count();
    let (passed, failed) = (count("... ok"), count("... FAIL") + count("... ERROR"));
    tally.add("the training scripts", passed, failed);
    let result = tests.require().and_then(|_| {
        ensure!(passed > 0, "no test ran");
        Ok(())
    });
    tally.check("shortened runs train, convert and generate", result);
    Ok(())
}

/// A Python that has what tools/train needs, in target/train-venv.
fn python(ctx: &Ctx) -> Result<PathBuf> {
    let folder = ctx.target.join("train-venv");
    let python = folder.join("bin/python");
    let here = python.display().to_string();
    let works = || {
        python.is_file()
            && ctx
                .job("train-imports", &here)
                .args(["-c", IMPORTS])
                .quiet()
                .finish()
                .is_ok_and(|o| o.success)
    };
    if works() {
        return Ok(python);
    }
    apt_install(ctx, &PACKAGES, "PyTorch for the training scripts")?;
    // Debian's own Python, whatever comes first on the PATH.
    let system = Some(PathBuf::from("/usr/bin/python3")).filter(|path| path.is_file());
    let system = system.or_else(|| find("python3")).context("there is no python3")?;
    println!("installing safetensors and tokenizers into {}", ctx.show(&folder));
    ctx.job("train-venv", &system.display().to_string())
        .args(["-m", "venv", "--clear", "--system-site-packages"])
        .arg(&folder)
        .run()?;
    let text = fs::read_to_string(ctx.path("tools/train/requirements.txt"))?;
    let wanted = text
        .lines()
        .filter(|line| ["safetensors", "tokenizers"].iter().any(|p| line.starts_with(p)));
    // Without what they depend on: the downloader of tokenizers is not used.
    ctx.job("train-pip", &here)
        .args(["-m", "pip", "install", "--quiet", "--no-deps"])
        .args(wanted)
        .run()?;
    ensure!(works(), "{here} cannot import what tools/train needs; see train-imports.log");
    Ok(python)
}
