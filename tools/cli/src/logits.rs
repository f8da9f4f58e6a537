//! `pagelm logits`: the model's raw numbers, as JSON that reads back to the bit.
#![forbid(unsafe_code)]

use crate::ids::Ids;
use crate::model_file::{IsaChoice, ModelFile, about_prompt, parse_isa, session_memory};
use anyhow::{Context, Result, ensure};
use clap::Args as ClapArgs;
use pagelm::{Progress, Session, SessionParams};
use serde::Serialize;
use std::path::PathBuf;

#[derive(ClapArgs)]
pub struct Args {
    /// A model file, plain or packed
    model: PathBuf,
    /// Token ids, separated by commas
    #[arg(long)]
    ids: Ids,
    /// A row for every position, not only the last
    #[arg(long)]
    all: bool,
    /// Tokens worked on together; the result does not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// The kernels: auto, scalar, or an instruction set of this machine
    #[arg(long, default_value = "auto", value_parser = parse_isa)]
    isa: IsaChoice,
}

/// Rows of `n_vocab` numbers, or with one row its numbers alone.
#[derive(Serialize)]
#[serde(untagged)]
enum Logits {
    All(Vec<Vec<f32>>),
    Last(Vec<f32>),
}

#[derive(Serialize)]
struct Json<'a> {
    n_vocab: u32,
    ids: &'a [u32],
    logits: Logits,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let ids = &args.ids.0;
    ensure!(!ids.is_empty(), "--ids names no token; logits need at least one");
    let mut file = ModelFile::read(&args.model)?;
    let model = file.load(args.isa.0)?;
    let params = SessionParams {
        n_batch: args.batch.unwrap_or(0),
        all_logits: args.all,
        ..SessionParams::default()
    };
    let mut mem = session_memory(&model, &params)?;
    let mut session = Session::new(&model, mem.bytes_mut(), &params).map_err(anyhow::Error::msg)?;
    session.feed_ids(ids).map_err(|e| about_prompt(&session, e)).context("--ids")?;
    let mut rows: Vec<Vec<f32>> = Vec::new();
    loop {
        let progress = session.eval(0).map_err(anyhow::Error::msg)?;
        if args.all {
            for row in 0..session.n_logits_rows() {
                rows.push(session.logits_row(row).map_err(anyhow::Error::msg)?.to_vec());
            }
        }
        if progress == Progress::Ready {
            break;
        }
    }
    let logits = if args.all {
        Logits::All(rows)
    } else {
        Logits::Last(session.logits().map_err(anyhow::Error::msg)?.to_vec())
    };
    crate::print_json(&Json { n_vocab: model.info().n_vocab, ids, logits })
}
