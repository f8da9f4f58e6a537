//! `pagelm convert`: checkpoints of other programs into GGUF.
#![forbid(unsafe_code)]

mod arrays;
mod gguf_writer;
mod gpt2_basic;
mod hf_gpt2;
mod input;
mod keras;
mod keras_model;
mod keras_order;
mod ml5;
mod nano_sort;
mod net;
mod net_write;
mod npz;
mod numbers;
pub mod output;
mod pytorch_rnn;
pub mod random;
mod safetensors_dir;
mod source;
mod tfjs;
mod tokenizer;
mod vocab;

use crate::pack;
use anyhow::Result;
use clap::{Args as ClapArgs, ValueEnum};
use input::Read;
use output::Report;
use pagelm::quant::DType;
use serde::Serialize;
use source::{Source, Vocab};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(ClapArgs)]
pub struct Args {
    /// A model of another program: a Hugging Face GPT-2 folder, a Keras file, a
    /// TensorFlow.js model.json, a folder with a pagelm.json, ... (docs/CONVERT.md)
    input: PathBuf,
    /// The GGUF file to write
    #[arg(short, long)]
    output: PathBuf,
    /// The format of the matrices; norms, biases and positions stay f32
    #[arg(short, long, value_enum, default_value = "q8_0")]
    quantize: Format,
    /// Pack the result for reading without a copy
    #[arg(long)]
    packed: bool,
    /// The model's name in the file [default: the input's file name]
    #[arg(long)]
    name: Option<String>,
    /// A vocabulary for a model that has none: a JSON list of texts, a map from
    /// text to id, or "bytes"
    #[arg(long, value_name = "FILE", conflicts_with = "no_tokenizer")]
    vocabulary: Option<PathBuf>,
    /// Leave tokenizer files out: the model then takes token ids only
    #[arg(long)]
    no_tokenizer: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// What matrices can be stored as.
#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Format {
    F32,
    F16,
    #[value(name = "q8_0")]
    Q8_0,
    #[value(name = "q4_0")]
    Q4_0,
}

impl Format {
    /// The engine's name for it.
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Q8_0 => DType::Q8_0,
            Self::Q4_0 => DType::Q4_0,
        }
    }
}

/// The report in its machine form.
#[derive(Serialize)]
struct Json<'a> {
    output: &'a Path,
    bytes: u64,
    tensors: usize,
    parameters: u64,
    quantize: &'static str,
    packed: bool,
    tokenizer: &'static str,
    kept_f16: &'a [String],
    raised_to_q8_0: &'a [String],
    notes: &'a [String],
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let Read { source, kind, name } =
        input::read(&args.input, args.vocabulary.as_deref(), args.no_tokenizer)?;
    let wanted = args.quantize.dtype();
    let name = args.name.clone().or(name).unwrap_or_else(|| name_of(&args.input));
    let report = write(&source, &name, wanted, args)?;
    if args.json {
        return print_json(args, &source, &report);
    }
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{}: {kind}, {} tensors, {} parameters, {} bytes",
        args.output.display(),
        report.n_tensors,
        report.n_params,
        report.bytes
    )?;
    if !report.raised.is_empty() {
        writeln!(
            out,
            "q8_0 instead of q4_0, because every token passes them: {}",
            report.raised.join(", ")
        )?;
    }
    if !report.kept_f16.is_empty() {
        writeln!(
            out,
            "f16, because their rows are not a multiple of 32 numbers: {}",
            report.kept_f16.join(", ")
        )?;
    }
    for note in &source.notes {
        writeln!(out, "{note}")?;
    }
    Ok(())
}

/// Writes the file; a packed one by way of a plain one that goes afterwards.
fn write(source: &Source, name: &str, wanted: DType, args: &Args) -> Result<Report> {
    if !args.packed {
        return output::write(source, name, wanted, &args.output);
    }
    let plain = output::beside(&args.output, "plain")?;
    let packed = output::write(source, name, wanted, &plain).and_then(|report| {
        pack::pack(&plain, &args.output)?;
        Ok(report)
    });
    // Whether or not it is there: what matters is that it is not left.
    let _ = fs::remove_file(&plain);
    packed
}

fn print_json(args: &Args, source: &Source, report: &Report) -> Result<()> {
    let tokenizer = match source.vocab {
        Vocab::None => "none",
        Vocab::Bpe { .. } => "bpe",
        Vocab::Pieces { .. } => "pieces",
    };
    crate::print_json(&Json {
        output: &args.output,
        bytes: report.bytes,
        tensors: report.n_tensors,
        parameters: report.n_params,
        quantize: args.quantize.dtype().name(),
        packed: args.packed,
        tokenizer,
        kept_f16: &report.kept_f16,
        raised_to_q8_0: &report.raised,
        notes: &source.notes,
    })
}

/// The last part of a path, without an extension.
fn name_of(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.into());
    let name = if whole.is_dir() { whole.file_name() } else { whole.file_stem() };
    name.map_or_else(|| "model".into(), |n| n.to_string_lossy().into_owned())
}
