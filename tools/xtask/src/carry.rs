//! States and snapshots carried between the native build and wasm: going on must be the same, to the bit, as never having
//! stopped.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use pagelm::session::Predict;
use pagelm::{Model, Sampling, Session, SessionParams, Step};

use crate::ctx::Ctx;
use crate::setup::node;
use crate::tally::Tally;
use crate::web;

/// Language models: a transformer and each cell.
const TEXT: [&str; 5] = [
    "examples/models/gpt2-basic-bytes.gguf",
    "examples/models/names.gguf",
    "tests/data/rnn/elman-lm.f32.gguf",
    "tests/data/rnn/gru-lm.f32.gguf",
    "tests/data/rnn/lstm-q.q8_0.gguf",
];
/// Functions of vectors, of each cell and both kinds of GRU.
const VECTORS: [&str; 4] = [
    "tests/data/rnn/elman1.f32.gguf",
    "tests/data/rnn/gru1.f32.gguf",
    "tests/data/rnn/gru-before.f32.gguf",
    "tests/data/rnn/lstm2.f32.gguf",
];
/// What tools/web/carry.mjs does, too.
const TOKENS: usize = 30;
const STEPS: usize = 10_000;

pub fn step(ctx: &Ctx, tally: &mut Tally) -> Result<()> {
    web::ship(ctx)?;
    for build in ["simd128", "scalar"] {
        for model in TEXT {
            tally.check(&format!("{model}, {build}: a text goes on"), text(ctx, build, model));
        }
        for model in VECTORS {
            let what = format!("{model}, {build}: a state goes on, {STEPS} steps are one call");
            tally.check(&what, vectors(ctx, build, model));
        }
    }
    Ok(())
}

/// An empty folder for the two sides' files.
fn folder(ctx: &Ctx) -> Result<std::path::PathBuf> {
    let folder = ctx.target.join("carry");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Lets the wasm side do its part.
fn wasm(ctx: &Ctx, build: &str, model: &str, folder: &Path, kind: &str) -> Result<()> {
    node(ctx)?;
    let job = ctx.job(&format!("carry-{build}-{kind}"), "node").quiet();
    let job = job.arg(ctx.path("tools/web/carry.mjs")).arg(build).arg(ctx.path(model));
    job.arg(folder).arg(kind).limit(300).run()?;
    Ok(())
}

fn words(bytes: usize) -> Vec<u64> {
    vec![0; bytes.div_ceil(8)]
}

/// Loads a model and hands over a fresh session.
fn with_session<T>(path: &Path, f: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let mut file = words(bytes.len());
    let file: &mut [u8] = &mut bytemuck::cast_slice_mut(&mut file)[..bytes.len()];
    file.copy_from_slice(&bytes);
    let mut mem = words(pagelm::probe(file)?.model_mem_size);
    let model = Model::load(file, bytemuck::cast_slice_mut(&mut mem))?;
    let params = SessionParams::default();
    let mut mem = words(Session::mem_size(&model, &params)?);
    f(&mut Session::new(&model, bytemuck::cast_slice_mut(&mut mem), &params)?)
}

fn write_text(session: &mut Session) -> Result<()> {
    for _ in 0..TOKENS {
        let step = session.run(0)?;
        ensure!(matches!(step, Step::Token(_)), "the text ended: {step:?}");
    }
    session.release_text();
    Ok(())
}

fn snapshot(session: &mut Session) -> Result<Vec<u8>> {
    let mut bytes = vec![0; session.snapshot_size()?];
    session.snapshot(&mut bytes)?;
    Ok(bytes)
}

fn text(ctx: &Ctx, build: &str, model: &str) -> Result<()> {
    let (folder, path) = (folder(ctx)?, ctx.path(model));
    let sampling =
        Sampling { temperature: 0.9, top_k: 12, seed: 5, ignore_eos: 1, ..Sampling::default() };
    let (middle, end) = with_session(&path, |session| {
        session.set_sampling(&sampling)?;
        session.feed_ids(&[1, 2, 3, 4, 5])?;
        write_text(session)?;
        let middle = snapshot(session)?;
        write_text(session)?;
        Ok((middle, snapshot(session)?))
    })?;
    fs::write(folder.join("native.snapshot"), &middle)?;
    wasm(ctx, build, model, &folder, "text")?;
    let read = |name: &str| fs::read(folder.join(name)).context(name.to_string());
    let carried = with_session(&path, |session| {
        session.restore(&read("wasm.snapshot")?)?;
        write_text(session)?;
        snapshot(session)
    })?;
    ensure!(read("wasm.snapshot")? == middle, "wasm's snapshot is another");
    ensure!(read("wasm.end")? == end, "wasm ends elsewhere, without any carrying");
    ensure!(read("carried.end")? == end, "carried from native to wasm it ends elsewhere");
    ensure!(carried == end, "carried from wasm to native it ends elsewhere");
    Ok(())
}

/// Runs over vectors; all outputs, then the state.
fn run(session: &mut Session, input: &[f32], stateful: bool) -> Result<Vec<f32>> {
    let n_steps = input.len() / session.model().info().n_input as usize;
    let mut out = vec![0.0; session.predict_len(n_steps, true)?];
    session.predict(input, Predict { stateful, every_step: true }, &mut out)?;
    out.extend_from_slice(session.read_state()?);
    Ok(out)
}

fn bytes(numbers: &[f32]) -> &[u8] {
    bytemuck::cast_slice(numbers)
}

fn vectors(ctx: &Ctx, build: &str, model: &str) -> Result<()> {
    let (folder, path) = (folder(ctx)?, ctx.path(model));
    let read = |name: &str| fs::read(folder.join(name)).context(name.to_string());
    with_session(&path, |session| {
        let width = session.model().info().n_input as usize;
        let input: Vec<f32> =
            (0..STEPS * width).map(|i| ((i * 37 % 101) as f64 / 50.0 - 1.0) as f32).collect();
        let (before, after) = input.split_at(STEPS / 2 * width);
        run(session, before, false)?;
        let middle = session.read_state()?.to_vec();
        fs::write(folder.join("native.state"), bytes(&middle))?;
        let end = run(session, after, true)?;
        wasm(ctx, build, model, &folder, "vectors")?;
        session.reset();
        let state: Vec<f32> = read("wasm.state")?
            .as_chunks()
            .0
            .iter()
            .map(|&word| f32::from_le_bytes(word))
            .collect();
        session.write_state(&state)?;
        let carried = run(session, after, true)?;
        let whole = run(session, &input, false)?;
        ensure!(read("wasm.state")? == bytes(&middle), "wasm's state is another");
        ensure!(read("wasm.end")? == bytes(&end), "wasm ends elsewhere, without any carrying");
        ensure!(read("carried.end")? == bytes(&end), "carried from native to wasm it differs");
        ensure!(bytes(&carried) == bytes(&end), "carried from wasm to native it differs");
        ensure!(read("wasm.whole")? == bytes(&whole), "{STEPS} steps differ from native ones");
        Ok(())
    })
}
