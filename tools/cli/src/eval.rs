//! `pagelm eval`: how well a model knows a text, in bits.
//!
//! The mean of -log2 of the probability that the model gave to each token that
//! came. A recurrent model reads the text in one go. A transformer reads it in
//! windows of its context; each begins with the last half of the one before,
//! which is read but not counted again.
#![forbid(unsafe_code)]

use crate::model_file::{IsaChoice, ModelFile, parse_isa, session_memory};
use crate::{progress, tokenize};
use anyhow::{Context, Result, ensure};
use clap::Args as ClapArgs;
use pagelm::tokenizer::Tokenizer;
use pagelm::{Model, Progress, Session, SessionParams};
use serde::Serialize;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

/// Tokens fed at a time.
const CHUNK: usize = 256;

#[derive(ClapArgs)]
pub struct Args {
    /// A model file, plain or packed
    model: PathBuf,
    /// The text
    text: PathBuf,
    /// Read only so many bytes of it
    #[arg(long, value_name = "N")]
    max_bytes: Option<usize>,
    /// Leave out characters that the vocabulary lacks
    #[arg(long)]
    drop_unknown: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The kernels: auto, scalar, or an instruction set of this machine
    #[arg(long, default_value = "auto", value_parser = parse_isa)]
    isa: IsaChoice,
}

#[derive(Serialize)]
struct Json {
    tokens: usize,
    characters: usize,
    bytes: usize,
    bits_per_token: f64,
    bits_per_character: f64,
    bits_per_byte: f64,
    dropped_characters: usize,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let mut file = ModelFile::read(&args.model)?;
    let model = file.load(args.isa.0)?;
    let (text, dropped_characters) = read_text(args, model.tokenizer())?;
    let mut ids = tokenize::encode(model.tokenizer(), text.as_bytes(), false)?;
    let bos = model.info().bos;
    // Without a first token of the model's own, the text's first one is given.
    let counted = if bos.is_some() { text.as_str() } else { behind_first(&model, &text, &ids)? };
    ids.splice(0..0, bos);
    ensure!(ids.len() > 1, "{} has too few tokens to count", args.text.display());
    let bits = bits(&model, &ids)?;
    let (tokens, characters, bytes) = (ids.len() - 1, counted.chars().count(), counted.len());
    let json = Json {
        tokens,
        characters,
        bytes,
        bits_per_token: bits / tokens as f64,
        bits_per_character: bits / characters as f64,
        bits_per_byte: bits / bytes as f64,
        dropped_characters,
    };
    if args.json {
        return crate::print_json(&json);
    }
    let left_out = match dropped_characters {
        0 => String::new(),
        n => format!(", {n} characters left out"),
    };
    writeln!(
        io::stdout(),
        "{:.4} bits per character, {:.4} per byte, {:.4} per token\n{tokens} tokens, {characters} characters, {bytes} bytes{left_out}",
        json.bits_per_character,
        json.bits_per_byte,
        json.bits_per_token,
    )?;
    Ok(())
}

fn read_text(args: &Args, tokenizer: &Tokenizer<'_>) -> Result<(String, usize)> {
    let bytes = fs::read(&args.text);
    let mut bytes = bytes.with_context(|| format!("cannot read {}", args.text.display()))?;
    bytes.truncate(args.max_bytes.unwrap_or(usize::MAX));
    while args.max_bytes.is_some()
        && std::str::from_utf8(&bytes).is_err_and(|e| e.error_len().is_none())
    {
        // The cut went through a character.
        bytes.pop();
    }
    let text = String::from_utf8(bytes);
    let text = text.with_context(|| format!("{} is not UTF-8", args.text.display()))?;
    if !args.drop_unknown {
        return Ok((text, 0));
    }
    let mut known = std::collections::HashMap::new();
    let mut knows = |c: char| {
        let encoded = |c: char| tokenize::encode(tokenizer, c.to_string().as_bytes(), false);
        *known.entry(c).or_insert_with(|| encoded(c).is_ok())
    };
    let kept: String = text.chars().filter(|&c| knows(c)).collect();
    let dropped = text.chars().count() - kept.chars().count();
    Ok((kept, dropped))
}

/// The text without what its first token says.
fn behind_first<'t>(model: &Model<'_>, text: &'t str, ids: &[u32]) -> Result<&'t str> {
    let first = tokenize::decode(model.tokenizer(), ids.get(..1).unwrap_or_default())?;
    text.get(first.len()..).context("the first token ends inside a character")
}

/// The bits that all tokens behind the first one cost.
fn bits(model: &Model<'_>, ids: &[u32]) -> Result<f64> {
    let params = SessionParams { all_logits: true, ..SessionParams::default() };
    let mut mem = session_memory(model, &params)?;
    let mut session = Session::new(model, mem.bytes_mut(), &params).map_err(anyhow::Error::msg)?;
    let window = if model.as_rnn().is_some() { ids.len() } else { model.info().n_ctx as usize };
    let bar = progress::bytes("reading", ids.len() as u64);
    let (mut total, mut start, mut counted) = (0.0, 0, 1);
    while counted < ids.len() {
        session.reset();
        let end = (start + window).min(ids.len());
        // The last token has no successor in the window to be measured by.
        let mut at = start;
        while at + 1 < end {
            let stop = (at + CHUNK.min(window)).min(end - 1);
            session.feed_ids(&ids[at..stop]).map_err(anyhow::Error::msg)?;
            loop {
                let progress = session.eval(0).map_err(anyhow::Error::msg)?;
                for row in 0..session.n_logits_rows() {
                    at += 1;
                    if at >= counted {
                        let logits = session.logits_row(row).map_err(anyhow::Error::msg)?;
                        total += cost(logits, ids[at] as usize);
                    }
                }
                if progress == Progress::Ready {
                    break;
                }
            }
            bar.set_position(at as u64);
        }
        counted = end;
        start = end.saturating_sub(window / 2);
    }
    bar.finish_and_clear();
    Ok(total)
}

/// -log2 of a token's probability.
fn cost(logits: &[f32], id: usize) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&x| f64::from(x - most).exp()).sum();
    (sum.ln() - f64::from(logits[id] - most)) / std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::cost;

    #[test]
    fn a_fair_coin_costs_one_bit() {
        assert!((cost(&[3.0, 3.0], 1) - 1.0).abs() < 1e-12);
        assert!((cost(&[0.0, 0.0, 0.0, 0.0], 2) - 2.0).abs() < 1e-12);
        assert!(cost(&[100.0, -1e30], 0) < 1e-12);
    }
}
