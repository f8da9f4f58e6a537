//! `pagelm`: the command line. For people by default; `--json` (and all of
//! `logits`) for scripts. Errors are one sentence on standard error: exit 1,
//! or 2 if the command line itself is wrong.
#![forbid(unsafe_code)]

mod bench;
mod convert;
mod eval;
mod generate;
mod ids;
mod inspect;
mod logits;
mod model_file;
mod pack;
mod predict;
mod progress;
mod text;
mod tokenize;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;

/// Language models small enough for a web page, from the command line.
#[derive(Parser)]
#[command(name = "pagelm", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Continue a prompt, and print the text as it comes
    Generate(generate::Args),
    /// Print the logits after given token ids, as JSON
    Logits(logits::Args),
    /// Run a recurrent or feed-forward model as a function, and print its outputs as JSON
    Predict(predict::Args),
    /// Measure how well a model knows a text, in bits per character
    Eval(eval::Args),
    /// Measure how fast a model runs here
    Bench(bench::Args),
    /// Turn text into token ids, or ids into text
    Tokenize(tokenize::Args),
    /// Show a model file's metadata, tensors and exact memory
    Inspect(inspect::Args),
    /// Turn a checkpoint into a GGUF file
    Convert(convert::Args),
    /// Pack a GGUF file so that it runs from read-only memory
    Pack(pack::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Generate(args) => generate::run(&args),
        Command::Logits(args) => logits::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Predict(args) => predict::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Eval(args) => eval::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Bench(args) => bench::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Tokenize(args) => tokenize::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Inspect(args) => inspect::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Convert(args) => convert::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Pack(args) => pack::run(&args).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| fail(&error))
}

/// Tells the error, unless it is only that nobody reads on.
fn fail(error: &anyhow::Error) -> ExitCode {
    let io = error.chain().find_map(|e| e.downcast_ref::<io::Error>());
    if io.is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    // Where nobody listens there is nothing left to tell, and no reason to panic.
    let _ = writeln!(io::stderr(), "pagelm: {error:#}");
    ExitCode::FAILURE
}

/// Prints a value as JSON on one line.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    Ok(())
}
