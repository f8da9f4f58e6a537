//! `pagelm predict`: a recurrent or feed-forward model as a function, as JSON
//! that reads back to the bit.
#![forbid(unsafe_code)]

use crate::ids::Ids;
use crate::model_file::{IsaChoice, ModelFile, parse_isa, session_memory};
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args as ClapArgs;
use pagelm::session::Predict;
use pagelm::{Session, SessionParams};
use serde::Serialize;
use std::fs;
use std::path::PathBuf;

#[derive(ClapArgs)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct Args {
    /// A model file, plain or packed
    model: PathBuf,
    /// The input's numbers, separated by commas: one step behind the other
    #[arg(long, group = "what", allow_hyphen_values = true)]
    input: Option<Numbers>,
    /// A JSON file with the input's numbers, in one list or a list per step
    #[arg(long, group = "what", value_name = "FILE")]
    input_file: Option<PathBuf>,
    /// Token ids, separated by commas, for a model that takes tokens
    #[arg(long, group = "what")]
    ids: Option<Ids>,
    /// Text, for a model that takes tokens and has a vocabulary
    #[arg(long, group = "what", allow_hyphen_values = true)]
    text: Option<String>,
    /// The outputs of every step, not only those of the last
    #[arg(long)]
    every_step: bool,
    /// The state behind the input too
    #[arg(long)]
    state: bool,
    /// The kernels: auto, scalar, or an instruction set of this machine
    #[arg(long, default_value = "auto", value_parser = parse_isa)]
    isa: IsaChoice,
}

/// Numbers separated by commas, spaces allowed.
#[derive(Clone, Debug)]
struct Numbers(Vec<f32>);

impl std::str::FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |n: &str| n.trim().parse().map_err(|_| format!("{:?} is no number", n.trim()));
        text.split(',').map(number).collect::<Result<_, _>>().map(Self)
    }
}

/// A row of outputs for every step, or the only row.
#[derive(Serialize)]
#[serde(untagged)]
enum Output {
    Steps(Vec<Vec<f32>>),
    Last(Vec<f32>),
}

#[derive(Serialize)]
struct Json {
    n_output: usize,
    output: Output,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<Vec<f32>>,
}

/// What the model is given.
enum Input {
    Vectors(Vec<f32>),
    Ids(Vec<u32>),
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let mut file = ModelFile::read(&args.model)?;
    let model = file.load(args.isa.0)?;
    let params = SessionParams::default();
    let mut mem = session_memory(&model, &params)?;
    let mut session = Session::new(&model, mem.bytes_mut(), &params).map_err(anyhow::Error::msg)?;
    let input = match (&args.input, &args.ids, &args.text, &args.input_file) {
        (Some(Numbers(numbers)), ..) => Input::Vectors(numbers.clone()),
        (_, Some(Ids(ids)), ..) => Input::Ids(ids.clone()),
        (_, _, Some(text), _) => {
            let tokenizer = model.tokenizer();
            Input::Ids(crate::tokenize::encode(tokenizer, text.as_bytes(), true)?)
        }
        (.., Some(path)) => Input::Vectors(read_numbers(path)?),
        _ => bail!("there is no input"),
    };
    let how = Predict { stateful: false, every_step: args.every_step };
    let n_output = session.predict_len(1, false).map_err(anyhow::Error::msg)?;
    let most = match &input {
        Input::Vectors(x) => x.len(),
        Input::Ids(ids) => ids.len(),
    };
    let mut out =
        vec![0.0; session.predict_len(most, args.every_step).map_err(anyhow::Error::msg)?];
    let written = match &input {
        Input::Vectors(x) => session.predict(x, how, &mut out),
        Input::Ids(ids) => session.predict_ids(ids, how, &mut out),
    };
    let written = written.map_err(|e| anyhow!("{e}"))?;
    out.truncate(written);
    let output = if args.every_step {
        Output::Steps(out.chunks_exact(n_output).map(<[f32]>::to_vec).collect())
    } else {
        Output::Last(out)
    };
    let state = args.state.then(|| read_state(&session)).transpose()?;
    crate::print_json(&Json { n_output, output, state })
}

fn read_state(session: &Session<'_>) -> Result<Vec<f32>> {
    Ok(session.read_state().map_err(anyhow::Error::msg)?.to_vec())
}

fn read_numbers(path: &std::path::Path) -> Result<Vec<f32>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let json: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    let mut numbers = Vec::new();
    flatten(&json, &mut numbers).with_context(|| format!("cannot use {}", path.display()))?;
    Ok(numbers)
}

fn flatten(json: &serde_json::Value, out: &mut Vec<f32>) -> Result<()> {
    match json {
        serde_json::Value::Array(list) => list.iter().try_for_each(|v| flatten(v, out)),
        value => {
            let number = value.as_f64().context("it holds something else than numbers")?;
            ensure!(number.is_finite(), "it holds {number}");
            out.push(number as f32);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_read_and_refused() {
        assert_eq!("1, -2.5,3e2".parse::<Numbers>().unwrap().0, [1.0, -2.5, 300.0]);
        assert!("".parse::<Numbers>().is_err() && "1,x".parse::<Numbers>().is_err());
        let mut out = Vec::new();
        flatten(&json!([[1, 2.5], [3, -4]]), &mut out).unwrap();
        assert_eq!(out, [1.0, 2.5, 3.0, -4.0]);
        assert!(flatten(&json!([1, "2"]), &mut out).is_err());
    }
}
