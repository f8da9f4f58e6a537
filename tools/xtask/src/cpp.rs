//! pagelm.hpp: its tests with and without exceptions, under the sanitizers and
//! by every C++ compiler there is, and the shortest programs of the documents.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::ctx::Ctx;
use crate::dist;
use crate::native::{SANITIZERS, WARNINGS};
use crate::process::{Job, find};
use crate::setup::c_compiler;
use crate::tally::Tally;

const MODELS: &str = "examples/models/";
/// Programs that a page of the documents shows whole.
const SHOWN: [(&str, &str); 4] = [
    ("docs/C.md", "examples/c/hello.c"),
    ("docs/CPP.md", "examples/cpp/hello.cpp"),
    ("docs/CPP.md", "examples/cpp/hello-no-exceptions.cpp"),
    ("docs/EMSCRIPTEN.md", "examples/first/smooth.mjs"),
];

pub fn step(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    dist::build(ctx)?;
    let first = c_compiler(ctx, "CXX", "c++", "g++")?;
    sanitized(ctx, tally, &first);
    tally.check("another ABI than the header's is refused", other_abi(ctx, &first));
    for compiler in [first.as_str(), "clang++", "clang++-14"] {
        if find(compiler).is_none() {
            continue;
        }
        for standard in ["c++17", "c++20"] {
            let result = accepted(ctx, compiler, standard);
            tally.check(&format!("{compiler} accepts pagelm.hpp as {standard}"), result);
        }
    }
    for (document, program) in SHOWN {
        tally.check(&format!("{document} shows {program}"), shown(ctx, document, program));
    }
    Ok(())
}

/// Whether a document holds a program, line by line.
fn shown(ctx: &Ctx, document: &str, program: &str) -> Result<()> {
    let text = fs::read_to_string(ctx.path(document)).context(document.to_string())?;
    let program = fs::read_to_string(ctx.path(program)).context(program.to_string())?;
    ensure!(text.contains(&program), "its code block differs from the file");
    Ok(())
}

fn compiler(ctx: &Ctx, name: &str, log: &str) -> Job {
    let job = ctx.job(&format!("cpp-{log}"), name).args(WARNINGS);
    job.arg("-I").arg(ctx.path("include"))
}

fn out(ctx: &Ctx, name: &str) -> Result<PathBuf> {
    let folder = ctx.target.join("native");
    fs::create_dir_all(&folder)?;
    Ok(folder.join(name))
}

/// Both test programs under the sanitizers. They are parts of one program, so
/// that code with and without exceptions is seen to stand side by side.
fn sanitized(ctx: &Ctx, tally: &mut Tally, name: &str) {
    let compile = || -> Result<[PathBuf; 2]> {
        let archive = ctx.target.join("dist/libpagelm.a");
        let (object, returning) = (out(ctx, "returning.o")?, out(ctx, "returning")?);
        let source = ctx.path("tests/cpp/returning.cpp");
        let job = |log: &str| compiler(ctx, name, log).arg("-std=c++17").args(SANITIZERS);
        let without = ["-fno-exceptions", "-fno-rtti"];
        job("returning")
            .args(without)
            .arg(&source)
            .arg(&archive)
            .arg("-o")
            .arg(&returning)
            .run()?;
        let renamed = job("returning-part").args(without).arg("-Dmain=main_of_returning");
        renamed.arg("-c").arg(&source).arg("-o").arg(&object).run()?;
        let throwing = out(ctx, "throwing")?;
        let both = job("throwing").arg(ctx.path("tests/cpp/throwing.cpp")).arg(&object);
        both.arg(&archive).arg("-pthread").arg("-o").arg(&throwing).run()?;
        Ok([throwing, returning])
    };
    let what =
        "pagelm.hpp's tests compile with all warnings as errors, with and without exceptions";
    let Some(programs) = tally.value(what, compile()) else { return };
    for program in programs {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match tests_passed(ctx, &program) {
            Ok(passed) => tally.add(&format!("tests/cpp/{name}.cpp, sanitized"), passed, 0),
            Err(error) => tally.record(&format!("tests/cpp/{name}.cpp, sanitized"), &error),
        }
    }
}

/// The number in `N passed`, which a test program prints when all went well.
fn tests_passed(ctx: &Ctx, program: &Path) -> Result<usize> {
    let job = ctx.job("cpp-run", &program.to_string_lossy()).quiet().limit(600);
    let text = job.arg(ctx.path(MODELS)).run()?.stdout;
    let number = text.trim().strip_suffix(" passed").and_then(|n| n.parse().ok());
    number.filter(|n| *n > 0).with_context(|| format!("it printed {text:?}"))
}

/// A program that was compiled for the next major version.
fn other_abi(ctx: &Ctx, name: &str) -> Result<()> {
    let folder = ctx.target.join("native/other-abi");
    for file in
        ["pagelm.h", "pagelm.hpp", "pagelm/base.hpp", "pagelm/model.hpp", "pagelm/session.hpp"]
    {
        let text = fs::read_to_string(ctx.path("include").join(file))?;
        let changed: Vec<&str> = text
            .lines()
            .map(|line| match line.starts_with("#define PAGELM_ABI_VERSION ") {
                true => "#define PAGELM_ABI_VERSION 0x00630000",
                false => line,
            })
            .collect();
        let to = folder.join(file);
        fs::create_dir_all(to.parent().context("a path without a folder")?)?;
        fs::write(to, changed.join("\n") + "\n")?;
    }
    let program = out(ctx, "abi")?;
    let job = ctx.job("cpp-abi", name).arg("-std=c++17").args(WARNINGS).arg("-I").arg(&folder);
    let job = job.arg(ctx.path("tests/cpp/abi.cpp")).arg(ctx.target.join("dist/libpagelm.a"));
    job.arg("-o").arg(&program).run()?;
    let job = ctx.job("cpp-run-abi", &program.to_string_lossy()).quiet();
    let said = job.arg(ctx.path(MODELS).join("denoise.gguf")).run()?.stdout;
    ensure!(said.contains("compiled for 99.0.0"), "it said {said:?}");
    Ok(())
}

fn accepted(ctx: &Ctx, name: &str, standard: &str) -> Result<()> {
    let job = |log: &str| {
        let job = compiler(ctx, name, &format!("{log}-{standard}")).arg(format!("-std={standard}"));
        job.args(["-Wshadow", "-Wconversion", "-fsyntax-only"]).quiet()
    };
    job("syntax").arg(ctx.path("tests/cpp/throwing.cpp")).run()?;
    let without = job("syntax-returning").args(["-fno-exceptions", "-fno-rtti"]);
    without.arg(ctx.path("tests/cpp/returning.cpp")).run()?;
    Ok(())
}
