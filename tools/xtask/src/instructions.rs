//! How many instructions the native kernels take, counted by valgrind and held
//! against tools/bench/instructions.json. Unlike times, counts do not depend on
//! what else the machine does.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::ctx::Ctx;
use crate::process::find;
use crate::setup::apt_install;
use crate::tally::{Tally, excused, not_run};

const FIGURES: &str = "tools/bench/instructions.json";
/// What a count may differ by: other patch levels of the C library and of crates.
const TOLERANCE: f64 = 0.05;
/// What is counted is the difference of one repetition and this many more.
const MORE: u64 = 2;
/// What valgrind knows: its processor has no AVX-512.
const SETS: [&str; 2] = ["scalar", "avx2"];

/// The file.
#[derive(Serialize, Deserialize)]
struct Figures {
    /// The compiler they are of; another one's are not compared.
    rustc: String,
    /// Instructions of one repetition, by case: see tools/bench/instructions.rs.
    counts: BTreeMap<String, u64>,
}

/// `cargo xtask instructions`.
pub fn command(ctx: &Ctx, write: bool) -> Result<()> {
    let figures = Figures { rustc: rustc(ctx)?, counts: count_all(ctx)? };
    for (case, n) in &figures.counts {
        println!("{n:>12} {case}");
    }
    if write {
        fs::write(ctx.path(FIGURES), serde_json::to_string_pretty(&figures)? + "\n")?;
        println!("wrote {FIGURES}");
    }
    Ok(())
}

/// The test step.
pub fn step(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    let text = fs::read_to_string(ctx.path(FIGURES)).context(FIGURES)?;
    let kept: Figures = serde_json::from_str(&text).context(FIGURES)?;
    let rustc = rustc(ctx)?;
    if rustc != kept.rustc {
        return Err(excused(format!(
            "{FIGURES} is of {}, and this is {rustc}; `cargo xtask instructions --write` renews it",
            kept.rustc
        )));
    }
    let counts = count_all(ctx)?;
    ensure!(
        counts.keys().eq(kept.counts.keys()),
        "{FIGURES} has other cases; `cargo xtask instructions --write` renews it"
    );
    for (case, (now, before)) in counts.iter().map(|(case, now)| (case, (*now, kept.counts[case])))
    {
        tally.check(&format!("{case}: {now} instructions"), close(now, before));
    }
    tally.check("no kernel calls anything: no check of bounds, no copy", no_calls(ctx));
    Ok(())
}

/// Whether the disassembly of every kernel is free of calls. A check of bounds
/// ends in a call of the panic, and a copy is a call of `memcpy`.
fn no_calls(ctx: &Ctx) -> Result<()> {
    let output = ctx
        .job("disassembly", "objdump")
        .args(["--disassemble", "--demangle", "--no-show-raw-insn"])
        .arg(program(ctx))
        .quiet()
        .run()?;
    let mut kernels = Vec::new();
    let mut inside = None;
    for line in output.stdout.lines() {
        if let Some(name) = line.strip_suffix(">:").and_then(|line| line.split_once('<')) {
            inside = KERNELS.iter().find(|kernels| name.1.starts_with(**kernels)).map(|_| name.1);
            kernels.extend(inside);
        } else if let Some(name) = inside {
            let called = line.split_once("call ").map(|(_, target)| target.trim());
            ensure!(called.is_none(), "{name} calls {}", called.unwrap_or_default());
        }
    }
    for named in KERNELS {
        let n = kernels.iter().filter(|name| name.starts_with(named)).count();
        ensure!(n >= 4, "{n} functions {named}* in the disassembly, where each format has one");
    }
    Ok(())
}

/// What the kernels' names begin with.
const KERNELS: [&str; 2] = ["pagelm::kernels::scalar::", "pagelm::kernels::x86_64::"];

/// The program whose instructions are counted.
fn program(ctx: &Ctx) -> PathBuf {
    ctx.target.join("release/examples/instructions")
}

/// Fewer is a reason to renew the file as well, or the gain could be lost unseen.
fn close(now: u64, before: u64) -> Result<()> {
    let change = now as f64 / before as f64 - 1.0;
    ensure!(
        change.abs() <= TOLERANCE,
        "{:+.1} % from {before}; if that is meant, `cargo xtask instructions --write`",
        100.0 * change
    );
    Ok(())
}

fn rustc(ctx: &Ctx) -> Result<String> {
    let output = ctx.job("rustc-version", "rustc").arg("--version").quiet().run()?;
    // Without the commit and the date: a distribution's build has others.
    Ok(output.stdout.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

/// Every case and its count.
fn count_all(ctx: &Ctx) -> Result<BTreeMap<String, u64>> {
    if !cfg!(target_arch = "x86_64") {
        return Err(excused("the counts are of x86-64"));
    }
    if find("valgrind").is_none() {
        apt_install(ctx, &["valgrind"], "valgrind, to count instructions")?;
    }
    ctx.job("build-instructions", "cargo")
        .args(["build", "--release", "--package", "pagelm", "--example", "instructions"])
        .without_env(&["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"])
        .run()?;
    let program = program(ctx);
    let mut counts = BTreeMap::new();
    for set in SETS {
        for format in ["f32", "f16", "q8_0", "q4_0"] {
            for vectors in ["1", "16"] {
                let words = ["product", format, vectors];
                counts.insert(
                    format!("{set} {}", words.join(" ")),
                    count(ctx, &program, set, &words)?,
                );
            }
        }
        counts.insert(format!("{set} token"), count(ctx, &program, set, &["token"])?);
    }
    counts.insert("sample".into(), count(ctx, &program, "scalar", &["sample"])?);
    Ok(counts)
}

/// Instructions of one repetition.
fn count(ctx: &Ctx, program: &Path, set: &str, words: &[&str]) -> Result<u64> {
    let once = total(ctx, program, set, 1, words)?;
    let more = total(ctx, program, set, 1 + MORE, words)?;
    ensure!(more > once, "{set} {}: no work is done", words.join(" "));
    Ok((more - once) / MORE)
}

/// Instructions of a whole run.
fn total(ctx: &Ctx, program: &Path, set: &str, repeats: u64, words: &[&str]) -> Result<u64> {
    let output = ctx
        .job("instructions", "valgrind")
        .quiet()
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([set, &repeats.to_string()])
        .args(words)
        .limit(300)
        .finish()?;
    if output.log.contains("this machine does not have it") {
        return Err(not_run(format!("this machine has no {set}")));
    }
    let output = output.require()?;
    let line = output.log.lines().find_map(|line| line.split_once("Collected :"));
    let (_, number) = line.context("valgrind printed no count")?;
    number.trim().parse().context("valgrind's count is no number")
}

#[cfg(test)]
mod tests {
    use super::close;

    #[test]
    fn a_change_either_way_is_told() {
        assert!(close(104, 100).is_ok() && close(96, 100).is_ok());
        assert!(close(106, 100).is_err() && close(90, 100).is_err());
    }
}
