//! The engine on AArch64, in an emulated processor: once with every feature,
//! once with one of the oldest, so that both sets of kernels are seen.
#![forbid(unsafe_code)]

use anyhow::{Result, anyhow};

use crate::ctx::Ctx;
use crate::process::{Output, find};
use crate::rust::totals;
use crate::setup::apt_install;
use crate::tally::Tally;
use crate::toolchain::{Road, Target, prepare_for};

const TARGET: Target =
    Target { triple: "aarch64-unknown-linux-gnu", crates: "std,panic_abort,test" };
const EMULATOR: &str = "qemu-aarch64";
const LINKER: &str = "aarch64-linux-gnu-gcc";
/// Where Debian puts the C library of the other machine.
const LIBRARY: &str = "/usr/aarch64-linux-gnu";

/// QEMU's name of a processor, and the kernels that must be found on it.
const PROCESSORS: [(&str, &[&str]); 2] =
    [("max", &["neondot", "neon", "scalar"]), ("cortex-a53", &["neon", "scalar"])];

pub fn step(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    if find(EMULATOR).is_none() || find(LINKER).is_none() {
        const PACKAGES: [&str; 3] = ["qemu-user", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"];
        apt_install(ctx, &PACKAGES, "an emulator and a compiler for AArch64")?;
    }
    let road = match prepare_for(ctx, Road::Rustup, &TARGET) {
        Ok(compiler) => {
            println!("  {compiler}");
            Road::Rustup
        }
        Err(error) => {
            println!("  not by rustup: {error:#}");
            println!("  {}", prepare_for(ctx, Road::Debian, &TARGET)?);
            Road::Debian
        }
    };
    for (processor, kernels) in PROCESSORS {
        let output = tests(ctx, road, processor)?;
        let (passed, failed, _) = totals(&output.stdout);
        if passed + failed > 0 {
            tally.add(&format!("tests on {processor}"), passed, failed);
        }
        let seen: Vec<&str> =
            output.stdout.lines().filter_map(|line| line.strip_prefix("isa ")).collect();
        let found = if seen == kernels { Ok(()) } else { Err(other(&seen, kernels)) };
        output.explain(failed > 0)?;
        tally.check(&format!("{processor} has the kernels {}", kernels.join(", ")), found);
    }
    Ok(())
}

fn other(seen: &[&str], want: &[&str]) -> anyhow::Error {
    anyhow!("found {seen:?}, not {want:?}")
}

/// The kernel suite, the golden models and the text hashes.
fn tests(ctx: &Ctx, road: Road, processor: &str) -> Result<Output> {
    let job = road
        .cargo_for(ctx, &format!("aarch64-{processor}"), "test", &TARGET)
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER)
        .env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
            format!("{EMULATOR} -L {LIBRARY} -cpu {processor}"),
        )
        // The two roads' compilers do not share what they built.
        .arg("--target-dir")
        .arg(ctx.target.join(format!("aarch64-{}", road.name())));
    let tests = ["--lib", "--test", "text_hash", "--test", "gpt2_golden", "--test", "rnn_golden"];
    job.args(["--package", "pagelm", "--no-fail-fast"])
        .args(tests)
        // Of the unit tests the kernels', attention's and the layers'; all of the others.
        .args(["--", "--nocapture", "--skip", "tokenizer", "--skip", "session", "--skip", "math"])
        .limit(1800)
        .finish()
}
