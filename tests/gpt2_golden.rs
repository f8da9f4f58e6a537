//! Random-weight GPT-2 models, written by PyPI `gguf`, against the logits of PyTorch in float64.
//!
//! tools/reference/gpt2_goldens.py makes the files and says what each table holds. Errors are max|a - b| / max|b| over
//! all positions.
#![forbid(unsafe_code)]
#![cfg(feature = "gpt2")]

mod common;

use common::{Aligned, all_logits};
use pagelm::{Isa, Model};
use std::fs;
use std::path::PathBuf;

/// PyTorch's own float32 is within 1e-6 of its float64. The two GELUs are only
/// 1e-4 apart, so a looser bar would take the one for the other.
const BAR: f64 = 1e-5;

/// Logits of a fixed id sequence, (n_pos, n_vocab).
struct Golden {
    ids: Vec<u32>,
    n_vocab: usize,
    /// 0: the weights as they are in the file. For block formats also 1: with
    /// activations rounded to int8, and 2: the weights before quantisation.
    tables: Vec<Vec<f32>>,
}

fn path(name: &str, ext: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/gpt2").join(format!("{name}.{ext}"))
}

fn golden(name: &str) -> Golden {
    let bytes = fs::read(path(name, "bin")).unwrap();
    let words: Vec<u32> = bytes.as_chunks().0.iter().map(|&b| u32::from_le_bytes(b)).collect();
    let [n_pos, n_vocab, n_tables] = [0, 1, 2].map(|i| words[i] as usize);
    let (ids, rest) = words[3..].split_at(n_pos);
    assert_eq!(rest.len(), n_tables * n_pos * n_vocab);
    let tables = rest
        .chunks(n_pos * n_vocab)
        .map(|t| t.iter().map(|&w| f32::from_bits(w)).collect())
        .collect();
    Golden { ids: ids.to_vec(), n_vocab, tables }
}

/// Calls `f` with the model loaded from plain GGUF, then with the same model
/// from the packed bytes that loading made of it.
fn with_model(name: &str, mut f: impl FnMut(&str, &mut Model)) {
    let mut file = Aligned::from(fs::read(path(name, "gguf")).unwrap());
    let size = pagelm::probe(file.bytes()).unwrap().model_mem_size;
    let mut mem = Aligned::zeroed(size);
    f("plain", &mut Model::load(file.bytes_mut(), mem.bytes_mut()).unwrap());
    let info = pagelm::probe(file.bytes()).unwrap();
    assert!(info.packed, "loading packs in place");
    let need = info.model_mem_size;
    let short = Model::from_packed(file.bytes(), &mut mem.bytes_mut()[..need - 1]).map(|_| ());
    assert_eq!(short, Err(pagelm::Error::OutOfMemory { need }));
    f("packed", &mut Model::from_packed(file.bytes(), mem.bytes_mut()).unwrap());
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().all(|a| a.is_finite()));
    let largest = |it: &mut dyn Iterator<Item = f64>| it.fold(0.0, f64::max);
    let error = largest(&mut a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()));
    error / largest(&mut b.iter().map(|&b| f64::from(b).abs()))
}

fn rms(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let error: f64 = a.iter().zip(b).map(|(&a, &b)| square(f64::from(a) - f64::from(b))).sum();
    (error / b.iter().map(|&b| square(f64::from(b))).sum::<f64>()).sqrt()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Every position within the bar; every batch size, instruction set and way
/// of loading the same to the bit.
fn check(name: &str) {
    let golden = golden(name);
    let mut first: Option<Vec<f32>> = None;
    with_model(name, |loaded, model| {
        assert_eq!(model.info().n_vocab as usize, golden.n_vocab);
        for isa in Isa::available() {
            model.set_isa(isa);
            for n_batch in [1, 2, 3, 7] {
                let logits = all_logits(model, &golden.ids, n_batch);
                let first = first.get_or_insert_with(|| logits.clone());
                assert!(
                    bits(first) == bits(&logits),
                    "{name}: {loaded}, {}, batches of {n_batch}",
                    isa.name()
                );
            }
        }
    });
    let logits = first.unwrap();
    match &golden.tables[..] {
        [exact] => {
            let error = distance(&logits, exact);
            println!("{name}: {error:.1e} from PyTorch");
            assert!(error < BAR, "{name}: {error:e}");
        }
        [exact, rounded, before] => {
            let error = distance(&logits, rounded);
            let (moved, format) = (rms(&logits, exact), rms(exact, before));
            println!(
                "{name}: {error:.1e} from PyTorch with rounding; rounding {moved:.1e}, format {format:.1e}"
            );
            assert!(error < BAR, "{name}: {error:e}");
            assert!(
                moved <= format,
                "{name}: rounding moved the logits by {moved:e}, the format by {format:e}"
            );
        }
        other => panic!("{name}: {} tables", other.len()),
    }
}

macro_rules! goldens {
    ($($test:ident = $file:literal,)*) => { $(#[test] fn $test() { check($file) })* };
}

goldens! {
    tiny_f32 = "tiny.f32",
    tiny_f16 = "tiny.f16",
    tiny_q8_0 = "tiny.q8_0",
    tiny_q4_0 = "tiny.q4_0",
    // n_embd 90, head_dim 18, n_inner 202, untied head with a bias, erf GELU
    odd_90_f32 = "odd90.f32",
    odd_90_f16 = "odd90.f16",
    // rows of 45 numbers, head_dim 15, ReLU, no attention biases, epsilon 1e-3
    odd_45_f32 = "odd45.f32",
    odd_45_f16 = "odd45.f16",
    // F16 and block formats side by side, 203 rows in the head
    mixed_q8_0 = "mixed96.q8_0",
    mixed_q4_0 = "mixed96.q4_0",
}

/// The comparison itself must be able to fail: with the weights of another
/// format the same table is out of reach.
#[test]
fn another_format_is_not_within_the_bar() {
    let golden = golden("tiny.f32");
    let mut errors = Vec::new();
    with_model("tiny.f16", |_, model| {
        errors.push(distance(&all_logits(model, &golden.ids, 16), &golden.tables[0]))
    });
    assert!(errors.iter().all(|&e| e > 10.0 * BAR), "{errors:?}");
}
