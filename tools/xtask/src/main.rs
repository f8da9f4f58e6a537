//! `cargo xtask`: the project's own commands.
//!
//! Each command does its set-up by itself and prints what it installs before
//! it does so. docs/DEVELOPING.md is the guide; `cargo xtask help` the list.
#![forbid(unsafe_code)]

mod aarch64;
mod bench;
mod bindgen;
mod carry;
mod checks;
mod cortex_m;
mod cpp;
mod ctx;
mod demo;
mod dist;
mod emscripten;
mod filter;
mod header;
mod hosts;
mod installed;
mod instructions;
mod native;
mod package;
mod process;
mod rust;
mod serve;
mod setup;
mod sizes;
mod tally;
mod test;
mod toolchain;
mod train;
mod wasm;
mod web;
mod weigh;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use ctx::Ctx;
use toolchain::Choice;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "pagelm's own commands",
    max_term_width = 100
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install everything the other commands need, and say what
    Setup,
    /// Run every check there is; the last line printed is "N passed, N failed"
    Test {
        /// Only these steps (`--list` names them)
        steps: Vec<String>,
        /// Name the steps and stop
        #[arg(long)]
        list: bool,
    },
    /// Build bindings/js/pagelm.wasm and pagelm-scalar.wasm
    Wasm {
        /// Which toolchain: rustup's target, Debian's packages, or the first that works
        #[arg(long, value_enum, default_value_t = Choice::Auto)]
        toolchain: Choice,
    },
    /// Build the wasm-bindgen package; write the table of its allocators in its README
    Bindgen {
        /// Which toolchain: rustup's target, Debian's packages, or the first that works
        #[arg(long, value_enum, default_value_t = Choice::Auto)]
        toolchain: Choice,
    },
    /// Write include/pagelm.h from the Rust source
    Header {
        /// Compare only; fail when the checked-in file differs
        #[arg(long)]
        check: bool,
    },
    /// Build what C and C++ programs need below target/package: headers, libraries, pkg-config, CMake
    Dist,
    /// Build that, and copy it to a prefix
    Install {
        /// Where to: headers go to PREFIX/include, libraries to PREFIX/lib
        #[arg(long, value_name = "DIR")]
        prefix: PathBuf,
    },
    /// Build the C++ program and the pages of emscripten/ and examples/first
    Emscripten,
    /// Measure the wasm files and the loader; write the table in docs/SIZES.md
    Sizes {
        /// Compare only; fail when the table or a budget is broken
        #[arg(long)]
        check: bool,
        /// Also list this many of the largest functions, and those that can panic
        #[arg(long, value_name = "N")]
        functions: Option<usize>,
    },
    /// Measure pagelm beside other engines; write tools/bench/results.json and docs/PERFORMANCE.md
    Bench(bench::Options),
    /// Count the instructions of the native kernels with valgrind
    Instructions {
        /// Write tools/bench/instructions.json, which `test instructions` compares with
        #[arg(long)]
        write: bool,
    },
    /// Build everything the demo page needs and serve it on this machine
    Demo {
        /// Port on 127.0.0.1; 0 takes any free one
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// Open the page in the default browser
        #[arg(long)]
        open: bool,
        /// Send the headers that make the page cross-origin isolated
        #[arg(long)]
        isolate: bool,
        /// Drive the page in headless Chromium, write PNGs to this folder, and end
        #[arg(long, value_name = "DIR")]
        screenshot: Option<PathBuf>,
        /// Which toolchain builds the wasm
        #[arg(long, value_enum, default_value_t = Choice::Auto)]
        toolchain: Choice,
    },
}

fn run(args: Args) -> anyhow::Result<bool> {
    let ctx = Ctx::new()?;
    match args.command {
        Command::Setup => setup::all(&ctx),
        Command::Test { list: true, .. } => test::list(),
        Command::Test { steps, .. } => return test::run(&ctx, &steps),
        Command::Wasm { toolchain } => drop(wasm::command(&ctx, toolchain)?),
        Command::Bindgen { toolchain } => bindgen::command(&ctx, toolchain)?,
        Command::Header { check } => header::command(&ctx, check)?,
        Command::Dist => drop(dist::command(&ctx)?),
        Command::Install { prefix } => dist::install(&ctx, &prefix)?,
        Command::Emscripten => emscripten::command(&ctx)?,
        Command::Sizes { check, functions } => sizes::command(&ctx, check, functions)?,
        Command::Bench(options) => bench::command(&ctx, &options)?,
        Command::Instructions { write } => instructions::command(&ctx, write)?,
        Command::Demo { port, open, isolate, screenshot, toolchain } => {
            let options = demo::Options { port, open, isolate, screenshot, toolchain };
            demo::command(&ctx, &options)?
        }
    }
    Ok(true)
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
