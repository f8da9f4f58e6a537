//! The two roads to a wasm compiler.
//!
//! Rustup's prebuilt `wasm32-unknown-unknown` where it can be had; else Debian's
//! `rustc-web`, which has no prebuilt core for that target and builds it from
//! `rust-web-src`. Nothing may depend on rustup's server, so both are tested.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::ctx::Ctx;
use crate::process::{Job, find};
use crate::setup::apt_install;
use crate::tally::excused;

pub const TARGET: &str = "wasm32-unknown-unknown";

/// What to build for.
pub struct Target {
    pub triple: &'static str,
    /// The crates of Rust's library, which Debian's road builds from source.
    pub crates: &'static str,
}

const WASM: Target = Target { triple: TARGET, crates: "core,compiler_builtins" };

/// Debian's compiler and its library source.
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SRC: &str = "/usr/lib/rustlib/src/rust/library/core";
const DEBIAN_LLD: &str = "/usr/bin/rust-lld";

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Choice {
    Auto,
    Rustup,
    Debian,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Road {
    Rustup,
    Debian,
}

impl Road {
    pub fn name(self) -> &'static str {
        match self {
            Road::Rustup => "rustup",
            Road::Debian => "debian",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Road::Rustup => "wasm by rustup",
            Road::Debian => "wasm by Debian's packages",
        }
    }

    /// Cargo of this road, set to build for wasm.
    pub fn cargo(self, ctx: &Ctx, log: &str, command: &str) -> Job {
        self.cargo_for(ctx, log, command, &WASM)
    }

    /// Cargo of this road, set to build for a target that is not this machine.
    pub fn cargo_for(self, ctx: &Ctx, log: &str, command: &str, target: &Target) -> Job {
        // A flag or wrapper of the caller's must not change what is shipped.
        const FOREIGN: [&str; 4] =
            ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_BUILD_RUSTFLAGS"];
        match self {
            Road::Rustup => {
                let job = ctx.job(log, "cargo").without_env(&FOREIGN).arg(command);
                job.args(["--target", target.triple])
            }
            Road::Debian => ctx
                .job(log, DEBIAN_CARGO)
                .without_env(&FOREIGN)
                // What rustup's proxy set for this process is for its own compiler.
                .without_env(&["RUSTUP_TOOLCHAIN", "CARGO", "LD_LIBRARY_PATH"])
                .env("RUSTC", DEBIAN_RUSTC)
                .env("RUSTDOC", "/usr/bin/rustdoc")
                .env("RUSTC_BOOTSTRAP", "1")
                .arg(command)
                .args(["--target", target.triple])
                .arg(format!("-Zbuild-std={}", target.crates)),
        }
    }
}

/// Makes a road to wasm ready, installing what it lacks; says which compiler it is.
pub fn prepare(ctx: &Ctx, road: Road) -> Result<String> {
    prepare_for(ctx, road, &WASM)
}

/// As `prepare`, for another target.
pub fn prepare_for(ctx: &Ctx, road: Road, target: &Target) -> Result<String> {
    match road {
        Road::Rustup => prepare_rustup(ctx, target.triple),
        Road::Debian => prepare_debian(ctx),
    }
}

/// The first road that works, or the one asked for.
pub fn choose(ctx: &Ctx, choice: Choice) -> Result<Road> {
    let road = match choice {
        Choice::Rustup => Road::Rustup,
        Choice::Debian => Road::Debian,
        Choice::Auto => match prepare(ctx, Road::Rustup) {
            Ok(_) => Road::Rustup,
            Err(error) => {
                println!("not by rustup: {error:#}");
                Road::Debian
            }
        },
    };
    let compiler = prepare(ctx, road)?;
    println!("{}: {compiler}", road.title());
    Ok(road)
}

/// The compiler that plain `cargo` uses, and whether it has the target.
fn prepare_rustup(ctx: &Ctx, target: &str) -> Result<String> {
    let rustc = |log: &str, args: &[&str]| ctx.job(log, "rustc").args(args).quiet().run();
    let version = rustc("rustc-version", &["--version"])?.stdout.trim().to_string();
    let sysroot = PathBuf::from(rustc("rustc-sysroot", &["--print", "sysroot"])?.stdout.trim());
    let installed = |sysroot: &Path| sysroot.join("lib/rustlib").join(target).join("lib").is_dir();
    if installed(&sysroot) {
        return Ok(format!("{version}, prebuilt {target}"));
    }
    if find("rustup").is_none() {
        return Err(excused(format!(
            "{version} has no {target}, and there is no rustup to add it"
        )));
    }
    println!("installing rustup's target {target}");
    let added =
        ctx.job("rustup-target", "rustup").args(["target", "add", target]).limit(120).finish()?;
    if !added.success || !installed(&sysroot) {
        let reason = added
            .log
            .lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or("no answer")
            .to_string();
        return Err(excused(format!("`rustup target add {target}` failed: {reason}")));
    }
    Ok(format!("{version}, prebuilt {target}"))
}

fn prepare_debian(ctx: &Ctx) -> Result<String> {
    let complete = || {
        [DEBIAN_CARGO, DEBIAN_RUSTC, DEBIAN_LLD].iter().all(|p| Path::new(p).exists())
            && Path::new(DEBIAN_SRC).is_dir()
    };
    if !complete() {
        const PACKAGES: [&str; 5] =
            ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "libstd-rust-web-dev"];
        apt_install(ctx, &PACKAGES, "Debian's Rust for the web (some 600 MB unpacked)")?;
        // rust-web-llvm's rust-lld is a link to an lld that it does not depend on.
        if let Ok(link) = fs::read_link(DEBIAN_LLD)
            && !Path::new(DEBIAN_LLD).exists()
        {
            let lld = link
                .file_name()
                .and_then(|name| name.to_str())
                .context("/usr/bin/rust-lld is an odd link")?
                .to_string();
            apt_install(ctx, &[&lld], "the linker that rust-lld stands for")?;
        }
        if !complete() {
            bail!(
                "Debian's packages did not bring {DEBIAN_CARGO}, {DEBIAN_RUSTC}, {DEBIAN_LLD} and {DEBIAN_SRC}"
            );
        }
    }
    let version = ctx
        .job("debian-rustc-version", DEBIAN_RUSTC)
        .without_env(&["LD_LIBRARY_PATH"])
        .arg("--version")
        .quiet()
        .run()?;
    Ok(format!("{}, core built from {DEBIAN_SRC}", version.stdout.trim()))
}
