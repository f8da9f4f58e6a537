//! GPT-2 models of any size with random weights, for memory and speed; their text is noise.
#![forbid(unsafe_code)]

use super::Format;
use super::output;
use super::source::{Arch, Hparams, Source, SourceTensor, SpecialIds, Vocab};
use anyhow::Result;
use std::path::Path;
use std::str::FromStr;

/// Numbers of an attention head, as in GPT-2.
const HEAD_DIM: usize = 64;

/// Layers, width and vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    n_layer: usize,
    n_embd: usize,
    n_vocab: usize,
}

impl FromStr for Shape {
    type Err = String;

    /// Reads `12x768x50257`; the vocabulary may be left out.
    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Option<Vec<usize>> =
            text.split('x').map(|n| n.parse().ok().filter(|n| *n > 0)).collect();
        let (n_layer, n_embd, n_vocab) = match numbers.as_deref() {
            Some(&[layers, width]) => (layers, width, 50257),
            Some(&[layers, width, vocab]) => (layers, width, vocab),
            _ => return Err("write it as LAYERSxWIDTHxVOCABULARY, such as 12x768x50257".into()),
        };
        if !n_embd.is_multiple_of(HEAD_DIM) {
            return Err(format!("the width must be a multiple of a head's {HEAD_DIM}"));
        }
        Ok(Self { n_layer, n_embd, n_vocab })
    }
}

/// Writes such a model.
pub fn write(path: &Path, shape: Shape, format: Format) -> Result<()> {
    let Shape { n_layer, n_embd, n_vocab } = shape;
    let (n_ctx, n_ff) = (1024, 4 * n_embd);
    let mut tensors = vec![
        tensor("token_embd.weight".into(), Some(n_vocab), n_embd),
        tensor("position_embd.weight".into(), Some(n_ctx), n_embd),
    ];
    for layer in 0..n_layer {
        let parts = [
            ("attn_norm", None, n_embd),
            ("attn_qkv", Some(3 * n_embd), n_embd),
            ("attn_output", Some(n_embd), n_embd),
            ("ffn_norm", None, n_embd),
            ("ffn_up", Some(n_ff), n_embd),
            ("ffn_down", Some(n_embd), n_ff),
        ];
        for (part, rows, cols) in parts {
            tensors.push(tensor(format!("blk.{layer}.{part}.weight"), rows, cols));
            let outputs = rows.unwrap_or(cols);
            tensors.push(tensor(format!("blk.{layer}.{part}.bias"), None, outputs));
        }
    }
    tensors.push(tensor("output_norm.weight".into(), None, n_embd));
    tensors.push(tensor("output_norm.bias".into(), None, n_embd));
    let hparams = Hparams {
        n_vocab,
        n_ctx,
        n_embd,
        n_head: n_embd / HEAD_DIM,
        n_layer,
        n_ff,
        norm_eps: 1e-5,
        activation: "gelu_new",
    };
    let source = Source {
        arch: Arch::Gpt2(hparams),
        vocab: Vocab::None,
        special: SpecialIds::default(),
        tensors,
        notes: Vec::new(),
    };
    output::write(&source, "random", format.dtype(), path).map(|_| ())
}

/// A tensor drawn from a seed of its own. The deviations are near a trained
/// GPT-2's, so that the logits are neither flat nor a spike.
fn tensor(name: String, rows: Option<usize>, cols: usize) -> SourceTensor {
    let (mean, deviation) = match name.as_str() {
        n if n.ends_with("norm.weight") => (1.0, 0.1),
        n if n.ends_with("bias") || n.starts_with("position") => (0.0, 0.02),
        _ => (0.0, 0.05),
    };
    let seed = name.bytes().fold(0x9E37_79B9_7F4A_7C15, |seed: u64, byte| {
        (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    let n = rows.unwrap_or(1) * cols;
    let load = move || {
        let mut random = seed | 1;
        Ok((0..n).map(|_| mean + deviation * normal(&mut random)).collect())
    };
    SourceTensor { origin: name.clone(), name, rows, cols, load: Box::new(load) }
}

/// Near enough a normal distribution: four uniform numbers of 16 bits, summed.
fn normal(state: &mut u64) -> f32 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    let sum: u64 = (0..4).map(|i| *state >> (16 * i) & 0xFFFF).sum();
    // The mean of the sum is 2, its deviation sqrt(4 / 12), in units of 2^16.
    (sum as f32 / 65536.0 - 2.0) * 3f32.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_two_or_three_numbers() {
        let small = Shape { n_layer: 4, n_embd: 128, n_vocab: 65 };
        assert_eq!("4x128x65".parse(), Ok(small));
        assert_eq!("12x768".parse::<Shape>().unwrap().n_vocab, 50257);
        for bad in ["", "12", "0x64", "2x70", "1x64x5x5", "axb"] {
            assert!(bad.parse::<Shape>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_numbers_are_about_normal() {
        let (mut state, n) = (1, 100_000);
        let x: Vec<f32> = (0..n).map(|_| normal(&mut state)).collect();
        let mean = x.iter().sum::<f32>() / n as f32;
        let variance = x.iter().map(|x| x * x).sum::<f32>() / n as f32;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }
}
