//! `pagelm tokenize`: text to ids, and ids to text.
#![forbid(unsafe_code)]

use crate::ids::Ids;
use crate::model_file::ModelFile;
use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use pagelm::tokenizer::Tokenizer;
use serde::Serialize;
use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;

#[derive(ClapArgs)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct Args {
    /// A model file, plain or packed
    model: PathBuf,
    /// The text
    #[arg(long, group = "what", allow_hyphen_values = true)]
    text: Option<String>,
    /// A file with the text; - is standard input
    #[arg(long, group = "what")]
    file: Option<PathBuf>,
    /// Token ids to turn into text, separated by commas
    #[arg(long, group = "what")]
    decode: Option<Ids>,
    /// Read special tokens such as <|endoftext|> in the text as themselves
    #[arg(long)]
    special: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Json<'a> {
    ids: &'a [u32],
    text: &'a str,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let mut file = ModelFile::read(&args.model)?;
    let model = file.load(None)?;
    let tokenizer = model.tokenizer();
    if let Some(Ids(ids)) = &args.decode {
        let bytes = decode(tokenizer, ids)?;
        if args.json {
            return crate::print_json(&Json { ids, text: &String::from_utf8_lossy(&bytes) });
        }
        // The bytes as they are: half a character is the reader's to judge.
        io::stdout().write_all(&bytes)?;
        return Ok(io::stdout().flush()?);
    }
    let text = input(args)?;
    let ids = encode(tokenizer, &text, args.special)?;
    if args.json {
        return crate::print_json(&Json { ids: &ids, text: &String::from_utf8_lossy(&text) });
    }
    let words: Vec<String> = ids.iter().map(u32::to_string).collect();
    writeln!(io::stdout(), "{}", words.join(","))?;
    Ok(())
}

fn input(args: &Args) -> Result<Vec<u8>> {
    match (&args.text, &args.file) {
        (Some(text), _) => Ok(text.as_bytes().to_vec()),
        (_, Some(path)) if path.as_os_str() == "-" => {
            let mut text = Vec::new();
            io::stdin().read_to_end(&mut text).context("cannot read standard input")?;
            Ok(text)
        }
        (_, Some(path)) => {
            fs::read(path).with_context(|| format!("cannot read {}", path.display()))
        }
        (None, None) => Ok(Vec::new()),
    }
}

/// The ids of a text.
pub fn encode(tokenizer: &Tokenizer<'_>, text: &[u8], special: bool) -> Result<Vec<u32>> {
    let mut work = vec![0; Tokenizer::work_size(text.len())];
    let mut ids = Vec::new();
    let mut push = |id| {
        ids.push(id);
        Ok(())
    };
    tokenizer.encode(text, special, &mut work, &mut push).map_err(anyhow::Error::msg)?;
    Ok(ids)
}

/// The bytes of ids.
pub fn decode(tokenizer: &Tokenizer<'_>, ids: &[u32]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for &id in ids {
        tokenizer.decode(id, &mut |b| bytes.extend_from_slice(b)).map_err(anyhow::Error::msg)?;
    }
    Ok(bytes)
}
