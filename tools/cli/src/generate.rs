//! `pagelm generate`: a prompt in, text out as it comes.
#![forbid(unsafe_code)]

use crate::ids::{Ids, fnv1a64};
use crate::model_file::{BATCH, IsaChoice, ModelFile, about_prompt, parse_isa, session_memory};
use crate::text::Utf8Joiner;
use crate::tokenize;
use anyhow::{Context, Result};
use clap::{Args as ClapArgs, ValueEnum};
use pagelm::{Finish, Model, Sampling, Session, SessionParams, Step, WhenFull};
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The shell's number for "ended by Ctrl-C".
const INTERRUPTED: u8 = 130;

#[derive(ClapArgs)]
pub struct Args {
    /// A model file, plain or packed
    model: PathBuf,
    /// The text to continue; without one the model begins by itself
    #[arg(long, default_value = "", allow_hyphen_values = true, conflicts_with = "prompt_ids")]
    prompt: String,
    /// The prompt as token ids, for models without a tokenizer
    #[arg(long, value_name = "IDS")]
    prompt_ids: Option<Ids>,
    /// The most tokens to generate
    #[arg(short = 'n', long, value_name = "N", default_value_t = 128)]
    tokens: u32,
    /// Randomness; 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.0, value_parser = not_negative)]
    temperature: f32,
    /// Draw from the K likeliest tokens; 0: from all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: u32,
    /// Draw from the likeliest tokens that together reach probability P; 0: off
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    top_p: f32,
    /// Draw from tokens at least P times as likely as the likeliest; 0: off
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    min_p: f32,
    /// Divide the logits of recent tokens by R; 0: off
    #[arg(long, value_name = "R", default_value_t = 0.0, value_parser = not_negative)]
    repetition_penalty: f32,
    /// Subtract from the logits of tokens that occurred
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = finite, allow_negative_numbers = true)]
    presence_penalty: f32,
    /// Subtract from the logits of tokens for each time they occurred
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = finite, allow_negative_numbers = true)]
    frequency_penalty: f32,
    /// The same seed gives the same text, on every machine
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Stop before this text (may be given more than once)
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    /// Do not stop at the model's end-of-text token
    #[arg(long)]
    ignore_eos: bool,
    /// Read special tokens such as <|endoftext|> in the prompt as themselves
    #[arg(long)]
    special: bool,
    /// Tokens of context to make room for [default: the model's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// Prompt tokens worked on together; the text does not depend on it [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// Keep attention's keys and values in F16: half the memory of a long context, rounded
    #[arg(long)]
    half_cache: bool,
    /// Keep no table of what a recurrent network's first layer makes of each token: slower, the same text
    #[arg(long)]
    low_memory: bool,
    /// What to do when the context is full: stop, or forget the oldest tokens
    #[arg(long, value_enum, default_value = "stop")]
    when_full: Full,
    /// The kernels: auto, scalar, or an instruction set of this machine
    #[arg(long, default_value = "auto", value_parser = parse_isa)]
    isa: IsaChoice,
    /// Print one JSON object at the end instead of the text
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Full {
    Stop,
    Slide,
}

fn finite(text: &str) -> Result<f32, String> {
    let number: f32 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number.is_finite() { Ok(number) } else { Err("not a finite number".into()) }
}

fn not_negative(text: &str) -> Result<f32, String> {
    finite(text).and_then(|x| if x >= 0.0 { Ok(x) } else { Err("less than 0".into()) })
}

fn probability(text: &str) -> Result<f32, String> {
    not_negative(text).and_then(|x| if x <= 1.0 { Ok(x) } else { Err("more than 1".into()) })
}

/// The result in its machine form.
#[derive(Serialize)]
struct Json<'a> {
    text: &'a str,
    ids: &'a [u32],
    prompt_ids: &'a [u32],
    finish: &'static str,
    ids_fnv1a64: String,
    isa: &'static str,
    prompt_tokens_per_second: f64,
    tokens_per_second: f64,
    memory_bytes: usize,
}

/// What was generated, and how long it took.
#[derive(Default)]
struct Outcome {
    text: String,
    ids: Vec<u32>,
    finish: &'static str,
    prompt_time: Duration,
    time: Duration,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut file = ModelFile::read(&args.model)?;
    let file_bytes = file.memory_bytes();
    let model = file.load(args.isa.0)?;
    let prompt_ids = prompt_ids(args, &model)?;
    let params = SessionParams {
        n_ctx: args.context.unwrap_or(0),
        n_batch: args.batch.unwrap_or(BATCH),
        when_full: match args.when_full {
            Full::Stop => WhenFull::Stop,
            Full::Slide => WhenFull::Slide,
        },
        half_cache: args.half_cache,
        low_memory: args.low_memory,
        ..SessionParams::default()
    };
    let mut mem = session_memory(&model, &params)?;
    let memory_bytes = file_bytes + mem.bytes().len();
    let mut session = Session::new(&model, mem.bytes_mut(), &params).map_err(anyhow::Error::msg)?;
    configure(args, &mut session)?;
    session.feed_ids(&prompt_ids).map_err(|e| about_prompt(&session, e)).context("the prompt")?;
    let outcome = generate(args, &mut session)?;
    report(args, &model, &prompt_ids, &outcome, memory_bytes)?;
    Ok(if outcome.finish == "interrupted" {
        ExitCode::from(INTERRUPTED)
    } else {
        ExitCode::SUCCESS
    })
}

/// The prompt's ids, with the token that begins a text where the model asks
/// for it: before every prompt, or instead of none.
fn prompt_ids(args: &Args, model: &Model<'_>) -> Result<Vec<u32>> {
    if let Some(Ids(ids)) = &args.prompt_ids {
        return Ok(ids.clone());
    }
    let tokenizer = model.tokenizer();
    let bos = tokenizer.bos().filter(|_| tokenizer.add_bos() || args.prompt.is_empty());
    let mut ids: Vec<u32> = bos.into_iter().collect();
    if !args.prompt.is_empty() {
        ids.extend(
            tokenize::encode(tokenizer, args.prompt.as_bytes(), args.special)
                .context("the prompt")?,
        );
    }
    Ok(ids)
}

fn configure(args: &Args, session: &mut Session<'_>) -> Result<()> {
    let sampling = Sampling {
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        repetition_penalty: args.repetition_penalty,
        presence_penalty: args.presence_penalty,
        frequency_penalty: args.frequency_penalty,
        ignore_eos: u32::from(args.ignore_eos),
        seed: args.seed,
        ..Sampling::default()
    };
    session.set_sampling(&sampling).map_err(anyhow::Error::msg)?;
    for stop in &args.stop {
        session
            .add_stop(stop.as_bytes())
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("--stop {stop:?}"))?;
    }
    Ok(())
}

/// Where text goes as it comes.
struct Sink {
    joiner: Utf8Joiner,
    text: String,
    live: bool,
}

impl Sink {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let text = self.joiner.push(bytes);
        self.put(text)
    }

    fn put(&mut self, text: String) -> io::Result<()> {
        if self.live && !text.is_empty() {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
        self.text += &text;
        Ok(())
    }

    fn finish(mut self) -> io::Result<String> {
        let rest = self.joiner.finish();
        self.put(rest)?;
        if self.live {
            writeln!(io::stdout())?;
        }
        Ok(self.text)
    }
}

fn generate(args: &Args, session: &mut Session<'_>) -> Result<Outcome> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .context("cannot watch for Ctrl-C")?;
    let mut sink = Sink { joiner: Utf8Joiner::default(), text: String::new(), live: !args.json };
    let mut outcome = Outcome { finish: "length", ..Outcome::default() };
    let start = Instant::now();
    // Slices of work, so that Ctrl-C is heard during a long prompt too.
    while outcome.ids.len() < args.tokens as usize {
        if interrupted.load(Ordering::Relaxed) {
            outcome.finish = "interrupted";
            break;
        }
        match session.run(SLICE).map_err(anyhow::Error::msg)? {
            Step::More => continue,
            Step::Token(id) => outcome.ids.push(id),
            Step::Finished(finish) => {
                sink.take(session.text())?;
                outcome.finish = name(finish);
                break;
            }
        }
        if outcome.ids.len() == 1 {
            outcome.prompt_time = start.elapsed();
        }
        sink.take(session.text())?;
    }
    outcome.time = start.elapsed().saturating_sub(outcome.prompt_time);
    // What looked like the beginning of a stop string was none.
    session.release_text();
    sink.take(session.text())?;
    outcome.text = sink.finish()?;
    Ok(outcome)
}

/// Units of work between two looks at Ctrl-C: some milliseconds.
const SLICE: u32 = 1024;

fn name(finish: Finish) -> &'static str {
    match finish {
        Finish::StopToken => "stop",
        Finish::StopString => "stop_string",
        Finish::ContextFull => "context",
    }
}

fn report(
    args: &Args,
    model: &Model<'_>,
    prompt_ids: &[u32],
    outcome: &Outcome,
    memory_bytes: usize,
) -> Result<()> {
    let per_second =
        |n: usize, time: Duration| if time.is_zero() { 0.0 } else { n as f64 / time.as_secs_f64() };
    // The first token belongs to the prompt's time: it comes with its last logits.
    let speed = per_second(outcome.ids.len().saturating_sub(1), outcome.time);
    let prompt_speed = per_second(prompt_ids.len(), outcome.prompt_time);
    let ids_fnv1a64 = fnv1a64(&outcome.ids);
    let isa = model.isa().name();
    if args.json {
        return crate::print_json(&Json {
            text: &outcome.text,
            ids: &outcome.ids,
            prompt_ids,
            finish: outcome.finish,
            ids_fnv1a64,
            isa,
            prompt_tokens_per_second: prompt_speed,
            tokens_per_second: speed,
            memory_bytes,
        });
    }
    let _ = writeln!(
        io::stderr(),
        "{} prompt tokens ({prompt_speed:.1}/s), {} generated ({speed:.1}/s), finish {}, {isa}, {memory_bytes} bytes, ids_fnv1a64 {ids_fnv1a64}",
        prompt_ids.len(),
        outcome.ids.len(),
        outcome.finish,
    );
    Ok(())
}
