//! `pagelm pack`: a GGUF file in the order that the kernels read.
#![forbid(unsafe_code)]

use crate::convert::output::Partial;
use crate::model_file::{Aligned, about, read_aligned};
use anyhow::{Context, Result, ensure};
use clap::Args as ClapArgs;
use pagelm::Model;
use pagelm::gguf::MAGIC_PACKED;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(ClapArgs)]
pub struct Args {
    /// A GGUF file
    model: PathBuf,
    /// The packed file to write
    #[arg(short, long)]
    output: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let size = pack(&args.model, &args.output)?;
    writeln!(io::stdout(), "{}: packed, {size} bytes", args.output.display())?;
    Ok(())
}

/// Packs a file and returns the size of the result, which is the same.
///
/// Loading packs a file where it lies, so this is loading and writing.
pub fn pack(from: &Path, to: &Path) -> Result<u64> {
    let mut file = read_aligned(from)?;
    ensure!(!file.bytes().starts_with(&MAGIC_PACKED), "{} is packed already", from.display());
    let info = pagelm::probe(file.bytes()).map_err(|e| about(from, e))?;
    let mut mem = Aligned::new(info.model_mem_size)?;
    Model::load(file.bytes_mut(), mem.bytes_mut()).map_err(|e| about(from, e))?;
    let mut out = Partial::create(to)?;
    let bytes = file.bytes();
    let mut write = || -> std::io::Result<()> {
        out.file.write_all(&MAGIC_PACKED)?;
        out.file.write_all(&bytes[MAGIC_PACKED.len()..])
    };
    write().with_context(|| format!("cannot write {}", to.display()))?;
    out.finish()
}
