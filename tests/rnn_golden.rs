//! Random recurrent networks of every cell and convention, against PyTorch and Keras in float64.
//!
//! tools/reference/rnn_goldens.py makes the files and says what each table holds. Errors are max|a - b| / max|b| over
//! all outputs of a kind.
#![forbid(unsafe_code)]
#![cfg(feature = "rnn")]

mod common;

use common::{Aligned, all_logits, session_mem};
use pagelm::session::Predict;
use pagelm::{Isa, Model, Session, SessionParams};
use std::fs;
use std::path::PathBuf;

/// The two hard sigmoids, the two GELUs and the two GRUs are further apart than a hundred times this.
const BAR: f64 = 1e-5;
const EVERY: Predict = Predict { stateful: false, every_step: true };
const LAST: Predict = Predict { stateful: false, every_step: false };

enum Data {
    Ids(Vec<u32>),
    Vectors(Vec<f32>),
}

/// Outputs of every step (empty if there are none), outputs for the last, state (empty if unknown).
struct Table {
    every: Vec<f32>,
    last: Vec<f32>,
    state: Vec<f32>,
}

struct Golden {
    data: Data,
    n_steps: usize,
    /// 0: the weights as they are in the file. For block formats also 1: with
    /// activations rounded to int8, and 2: the weights before quantisation.
    tables: Vec<Table>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/rnn")
}

fn path(name: &str, ext: &str) -> PathBuf {
    folder().join(format!("{name}.{ext}"))
}

fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).unwrap();
    let files = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> =
        files.filter_map(|f| f.strip_suffix(".gguf").map(str::to_owned)).collect();
    names.sort();
    assert_eq!(names.len(), 37, "tests/data/rnn is not complete");
    names
}

fn golden(name: &str) -> Golden {
    let bytes = fs::read(path(name, "bin")).unwrap();
    let words: Vec<u32> = bytes.as_chunks().0.iter().map(|&b| u32::from_le_bytes(b)).collect();
    let [n_steps, n_input, n_every, n_last, n_state, n_tables] =
        [0, 1, 2, 3, 4, 5].map(|i| words[i] as usize);
    let (input, rest) = words[6..].split_at(n_steps * n_input.max(1));
    let floats = |w: &[u32]| -> Vec<f32> { w.iter().map(|&w| f32::from_bits(w)).collect() };
    let size = n_every + n_last + n_state;
    assert_eq!(rest.len(), n_tables * size);
    let table = |t: &[u32]| Table {
        every: floats(&t[..n_every]),
        last: floats(&t[n_every..n_every + n_last]),
        state: floats(&t[n_every + n_last..]),
    };
    let data = if n_input == 0 { Data::Ids(input.to_vec()) } else { Data::Vectors(floats(input)) };
    Golden { data, n_steps, tables: rest.chunks(size).map(table).collect() }
}

/// Calls `f` with the model loaded from plain GGUF, then with the same model
/// from the packed bytes that loading made of it.
fn with_model(name: &str, mut f: impl FnMut(&str, &mut Model)) {
    let mut file = Aligned::from(fs::read(path(name, "gguf")).unwrap());
    let size = pagelm::probe(file.bytes()).unwrap().model_mem_size;
    let mut mem = Aligned::zeroed(size);
    f("plain", &mut Model::load(file.bytes_mut(), mem.bytes_mut()).unwrap());
    f("packed", &mut Model::from_packed(file.bytes(), mem.bytes_mut()).unwrap());
}

fn with_session<R>(model: &Model, n_batch: u32, f: impl FnOnce(&mut Session) -> R) -> R {
    let params = SessionParams { n_batch, ..SessionParams::default() };
    let mut mem = session_mem(model, &params);
    f(&mut Session::new(model, mem.bytes_mut(), &params).unwrap())
}

fn predict(session: &mut Session, data: &Data, n_steps: usize, how: Predict) -> Vec<f32> {
    let mut out = vec![f32::NAN; session.predict_len(n_steps, how.every_step).unwrap()];
    let n = match data {
        Data::Ids(ids) => session.predict_ids(ids, how, &mut out),
        Data::Vectors(input) => session.predict(input, how, &mut out),
    };
    assert_eq!(n, Ok(out.len()));
    out
}

/// What the model gives, in the shape of a golden table.
fn run(model: &Model, golden: &Golden, n_batch: u32) -> Table {
    with_session(model, n_batch, |session| {
        let n = golden.n_steps;
        let every = if golden.tables[0].every.is_empty() {
            Vec::new()
        } else {
            predict(session, &golden.data, n, EVERY)
        };
        let last = predict(session, &golden.data, n, LAST);
        let state = session.read_state().unwrap().to_vec();
        assert_eq!(session.state_len(), Ok(state.len()));
        Table { every, last, state }
    })
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    if b.is_empty() {
        return 0.0;
    }
    assert_eq!(a.len(), b.len());
    assert!(a.iter().all(|a| a.is_finite()));
    let largest = |it: &mut dyn Iterator<Item = f64>| it.fold(0.0, f64::max);
    let error = largest(&mut a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()));
    error / largest(&mut b.iter().map(|&b| f64::from(b).abs()))
}

fn rms(a: &[f32], b: &[f32]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    (sum / b.len() as f64).sqrt()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn outputs_and_states_are_those_of_pytorch_and_keras() {
    for name in names() {
        let golden = golden(&name);
        // Block formats: the table whose activations are rounded as the kernels round them.
        let want = &golden.tables[golden.tables.len().min(2) - 1];
        with_model(&name, |how, model| {
            let got = run(model, &golden, 0);
            for (what, a, b) in [
                ("every step", &got.every, &want.every),
                ("last step", &got.last, &want.last),
                ("state", &got.state, &want.state),
            ] {
                let error = distance(a, b);
                assert!(error < BAR, "{name} {how}, {what}: {error:.1e}");
            }
        });
    }
}

/// How far rounding activations moves the outputs, beside how far quantising the weights does.
#[test]
fn rounding_costs_no_more_than_the_format() {
    for name in names().iter().filter(|n| n.ends_with("q8_0") || n.ends_with("q4_0")) {
        let golden = golden(name);
        let [dequantised, _, original] = &golden.tables[..] else { panic!("{name}: tables") };
        with_model(name, |_, model| {
            let got = run(model, &golden, 0);
            let rounding = rms(&got.every, &dequantised.every);
            let format = rms(&dequantised.every, &original.every);
            // At Q8_0 both round to a 127th of a block's largest, so neither is much the larger.
            assert!(rounding < 2.0 * format, "{name}: {rounding:.1e} against {format:.1e}");
        });
    }
}

#[test]
fn batches_instruction_sets_and_packing_change_no_bit() {
    for name in names() {
        let golden = golden(&name);
        let mut seen: Option<[Vec<u32>; 3]> = None;
        with_model(&name, |how, model| {
            for isa in Isa::available() {
                model.set_isa(isa);
                let whole = model.as_rnn().unwrap().config().bidirectional;
                for n_batch in if whole { [0, 64, 64] } else { [0, 1, 3] } {
                    let got = run(model, &golden, n_batch);
                    let got = [bits(&got.every), bits(&got.last), bits(&got.state)];
                    let want = seen.get_or_insert_with(|| got.clone());
                    assert!(*want == got, "{name} {how} {} {n_batch}", isa.name());
                }
            }
        });
    }
}

/// A last softmax belongs to `predict` alone: what the sampler gets are logits.
#[test]
fn language_models_give_logits_through_a_session() {
    let mut seen = 0;
    for name in names() {
        let golden = golden(&name);
        with_model(&name, |_, model| {
            let Data::Ids(ids) = &golden.data else { return };
            if !model.as_rnn().unwrap().config().is_language_model() {
                return;
            }
            seen += 1;
            let n_vocab = model.info().n_vocab as usize;
            let want = &golden.tables[golden.tables.len().min(2) - 1].every;
            for n_batch in [1, 5, 16] {
                let mut got = all_logits(model, ids, n_batch);
                if name.starts_with("elman-lm") {
                    got.chunks_mut(n_vocab).for_each(softmax);
                }
                let error = distance(&got, want);
                assert!(error < BAR, "{name}: {error:.1e}");
            }
        });
    }
    assert_eq!(seen, 2 * 7, "elman-lm, gru-lm, lstm-tied, and lstm-q in four formats");
}

fn softmax(x: &mut [f32]) {
    let sum: f32 = x.iter().map(|v| v.exp()).sum();
    x.iter_mut().for_each(|v| *v = v.exp() / sum);
}
