//! The C and C++ examples: all warnings as errors, run, and run again under
//! the address and undefined-behaviour sanitizers.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::ctx::Ctx;
use crate::dist;
use crate::hosts::MODEL;
use crate::process::Job;
use crate::setup::c_compiler;
use crate::tally::Tally;

pub const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-pedantic", "-Werror"];
pub const SANITIZERS: [&str; 3] =
    ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/// A language of the examples.
pub struct Language {
    pub name: &'static str,
    source: &'static str,
    /// What the program is called.
    program: &'static str,
    standard: &'static str,
    compiler: [&'static str; 3],
}

pub const LANGUAGES: [Language; 2] = [
    Language {
        name: "C99",
        source: "examples/c/generate.c",
        program: "generate-c99",
        standard: "-std=c99",
        compiler: ["CC", "cc", "gcc"],
    },
    Language {
        name: "C++17",
        source: "examples/cpp/generate.cpp",
        program: "generate-c++17",
        standard: "-std=c++17",
        compiler: ["CXX", "c++", "g++"],
    },
];

/// The signal filter.
const FILTER: Language =
    Language { source: "examples/c/filter.c", program: "filter-c99", ..LANGUAGES[0] };

/// Compiles an example; the program's path.
pub fn compile(ctx: &Ctx, language: &Language, sanitized: bool) -> Result<PathBuf> {
    let [variable, usual, package] = language.compiler;
    let compiler = c_compiler(ctx, variable, usual, package)?;
    let name = format!("{}{}", language.program, if sanitized { "-sanitized" } else { "" });
    let out = ctx.target.join("native").join(&name);
    fs::create_dir_all(ctx.target.join("native"))?;
    let mut job = ctx
        .job(&format!("compile-{name}"), &compiler)
        .arg(language.standard)
        .args(WARNINGS)
        .arg("-O2");
    if sanitized {
        job = job.args(SANITIZERS);
    }
    job = job
        .arg("-I")
        .arg(ctx.path("include"))
        .arg(ctx.path(language.source))
        .arg(ctx.target.join("dist/libpagelm.a"));
    job.arg("-o").arg(&out).run()?;
    Ok(out)
}

pub fn step(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    dist::build(ctx)?;
    for language in &LANGUAGES {
        let name = language.name;
        let Some(plain) = tally.value(
            &format!("{name} compiles with all warnings as errors"),
            compile(ctx, language, false),
        ) else {
            continue;
        };
        let Some(text) = tally.value(&format!("{name} generates text"), generate(ctx, &plain))
        else {
            continue;
        };
        let clean = compile(ctx, language, true)
            .and_then(|program| generate(ctx, &program))
            .and_then(|same| {
                ensure!(same == text, "the sanitized program wrote another text");
                Ok(())
            });
        tally.check(
            &format!("{name} is clean under address and undefined-behaviour sanitizers"),
            clean,
        );
        tally.check(&format!("{name} says what is wrong with a bad file"), bad_file(ctx, &plain));
    }
    let filtered = compile(ctx, &FILTER, true).and_then(|program| filter(ctx, &program));
    tally.check("the C filter gives PyTorch's signal, clean under the sanitizers", filtered);
    Ok(())
}

/// Filters a signal and compares it with PyTorch's.
fn filter(ctx: &Ctx, path: &Path) -> Result<()> {
    let data = ctx.path("tests/data/denoise");
    let numbers = |text: &str| -> Result<Vec<f64>> {
        Ok(text.lines().map(str::parse).collect::<Result<_, _>>()?)
    };
    let model = ctx.path("examples/models/denoise.gguf");
    let job = program(ctx, path).arg(model).stdin(&data.join("noisy.txt"))?;
    let want = numbers(&fs::read_to_string(data.join("filtered.txt"))?)?;
    let got = numbers(&job.run()?.stdout)?;
    ensure!(got.len() == want.len(), "{} numbers for {}", got.len(), want.len());
    let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    ensure!(worst < 1e-5, "off by {worst}");
    Ok(())
}

fn program(ctx: &Ctx, program: &Path) -> Job {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    ctx.job(&format!("run-{name}"), &program.to_string_lossy()).quiet().limit(300)
}

/// The text of 64 tokens.
fn generate(ctx: &Ctx, path: &Path) -> Result<String> {
    let text =
        program(ctx, path).arg(ctx.path(MODEL)).args(["Once upon a time", "64"]).run()?.stdout;
    ensure!(text.trim().len() >= 16, "64 tokens gave only {text:?}");
    Ok(text)
}

/// A file that is no model: one sentence on standard error, status 1.
fn bad_file(ctx: &Ctx, path: &Path) -> Result<()> {
    let output = program(ctx, path).arg(ctx.path("Cargo.toml")).arg("x").finish()?;
    ensure!(!output.success, "it took Cargo.toml for a model");
    output
        .log
        .lines()
        .find(|line| line.contains("Cargo.toml") || line.contains("GGUF"))
        .context("no sentence names the fault")?;
    Ok(())
}
