//! `pagelm bench`: how fast a model runs here, prompt and generation apart.
#![forbid(unsafe_code)]

use crate::convert::Format;
use crate::convert::random::{self, Shape};
use crate::model_file::{BATCH, IsaChoice, ModelFile, about_prompt, parse_isa, session_memory};
use crate::progress;
use anyhow::{Result, bail, ensure};
use clap::Args as ClapArgs;
use pagelm::{Progress, Sampling, Session, SessionParams, Step};
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

#[derive(ClapArgs)]
pub struct Args {
    /// A model file, plain or packed
    model: PathBuf,
    /// First write MODEL: a GPT-2 with random weights, its matrices in this format
    #[arg(long, value_name = "FORMAT", value_enum)]
    random: Option<Format>,
    /// The size of the random model: layers, width and, unless it is GPT-2's, vocabulary
    #[arg(long, value_name = "LxWxV", default_value = "12x768x50257", requires = "random")]
    shape: Shape,
    /// Tokens of the prompt
    #[arg(short = 'p', long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    prompt: u32,
    /// Tokens to generate
    #[arg(short = 'n', long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    tokens: u32,
    /// Runs; the figures are medians
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Randomness of the sampler; 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f32,
    /// Draw from the K likeliest tokens; 0: from all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: u32,
    /// Draw from the likeliest tokens that together reach probability P; 0: off
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    top_p: f32,
    /// Prompt tokens worked on together [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// The kernels: auto, scalar, or an instruction set of this machine
    #[arg(long, default_value = "auto", value_parser = parse_isa)]
    isa: IsaChoice,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// The figures in their machine form; those of each run, too.
#[derive(Serialize)]
struct Json<'a> {
    model: &'a PathBuf,
    isa: &'static str,
    threads: u32,
    prompt_tokens: u32,
    tokens: u32,
    memory_bytes: usize,
    load_seconds: f64,
    prompt_tokens_per_second: f64,
    tokens_per_second: f64,
    prompt_runs: Vec<f64>,
    runs: Vec<f64>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    if let Some(format) = args.random {
        random::write(&args.model, args.shape, format)?;
    }
    let start = Instant::now();
    let mut file = ModelFile::read(&args.model)?;
    let file_bytes = file.memory_bytes();
    let model = file.load(args.isa.0)?;
    let load_seconds = start.elapsed().as_secs_f64();
    let isa = model.isa().name();
    let n_vocab = model.info().n_vocab;
    ensure!(n_vocab > 0, "{} has no tokens; bench runs language models", args.model.display());
    let params = SessionParams { n_batch: args.batch.unwrap_or(BATCH), ..SessionParams::default() };
    let mut mem = session_memory(&model, &params)?;
    let memory_bytes = file_bytes + mem.bytes().len();
    let mut session = Session::new(&model, mem.bytes_mut(), &params).map_err(anyhow::Error::msg)?;
    let sampling = Sampling {
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        ignore_eos: 1,
        ..Sampling::default()
    };
    session.set_sampling(&sampling).map_err(anyhow::Error::msg)?;
    let prompt: Vec<u32> =
        (0..args.prompt).map(|i| i.wrapping_mul(7919).wrapping_add(11) % n_vocab).collect();
    let bar = progress::steps("measuring", u64::from(args.runs));
    let (mut prompts, mut tokens) = (Vec::new(), Vec::new());
    for _ in 0..args.runs {
        let (p, t) = once(&mut session, &prompt, args.tokens)?;
        prompts.push(p);
        tokens.push(t);
        bar.inc(1);
    }
    bar.finish_and_clear();
    report(
        args,
        Json {
            model: &args.model,
            isa,
            threads: 1,
            prompt_tokens: args.prompt,
            tokens: args.tokens,
            memory_bytes,
            load_seconds,
            prompt_tokens_per_second: median(&prompts),
            tokens_per_second: median(&tokens),
            prompt_runs: prompts,
            runs: tokens,
        },
    )
}

/// One run from an empty context: tokens a second of the prompt, and of what is
/// generated after it, each with the choice of it.
fn once(session: &mut Session<'_>, prompt: &[u32], tokens: u32) -> Result<(f64, f64)> {
    session.reset();
    session.feed_ids(prompt).map_err(|e| about_prompt(session, e))?;
    let start = Instant::now();
    evaluate(session)?;
    let prompt_time = start.elapsed().as_secs_f64();
    let start = Instant::now();
    for _ in 0..tokens {
        if let Step::Finished(_) = session.sample().map_err(anyhow::Error::msg)? {
            bail!("the context is full; try a smaller --prompt or --tokens");
        }
        evaluate(session)?;
    }
    let time = start.elapsed().as_secs_f64();
    Ok((prompt.len() as f64 / prompt_time, f64::from(tokens) / time))
}

fn evaluate(session: &mut Session<'_>) -> Result<()> {
    while session.eval(0).map_err(anyhow::Error::msg)? != Progress::Ready {}
    Ok(())
}

fn median(x: &[f64]) -> f64 {
    let mut sorted = x.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 }
}

fn report(args: &Args, figures: Json<'_>) -> Result<()> {
    if args.json {
        return crate::print_json(&figures);
    }
    let Json { isa, prompt_tokens_per_second, tokens_per_second, .. } = figures;
    writeln!(
        io::stdout(),
        "{isa}, 1 thread: prompt of {} tokens {prompt_tokens_per_second:.1}/s, {} generated {tokens_per_second:.1}/s (medians of {})",
        args.prompt,
        args.tokens,
        args.runs
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(super::median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(super::median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
