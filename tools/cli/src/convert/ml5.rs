//! ml5's folders of character models (charRNN): `manifest.json` names raw files
//! of little-endian f32, `vocab.json` maps characters to ids.
//!
//! They come from TensorFlow 1's `BasicLSTMCell`: one matrix over [x, h], gates
//! i, j, f, o, and 1 added to the forget gate at run time.
#![forbid(unsafe_code)]

use super::arrays::{Array, Arrays, blocks};
use super::net::{Cell, Direction, Input, Kind, Layer, Merge, NONE, Net, Recurrent, SIGMOID, TANH};
use super::pytorch_rnn::add_forget_bias;
use super::source::{SpecialIds, Vocab};
use super::vocab::Tokens;
use super::{numbers, vocab};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const MANIFEST: &str = "manifest.json";
const VOCAB: &str = "vocab.json";
const FORGET_BIAS: f32 = 1.0;

#[derive(Deserialize)]
struct Entry {
    filename: String,
    shape: Vec<usize>,
}

/// Whether a folder is such a model.
pub fn is_model(dir: &Path) -> bool {
    dir.join(MANIFEST).is_file() && dir.join(VOCAB).is_file()
}

/// Reads a model.
pub fn read(dir: &Path, no_tokenizer: bool) -> Result<Net> {
    let weights = read_weights(dir)?;
    let table = weights.matrix("embedding")?;
    let mut layers = vec![Layer { name: "embedding".into(), kind: Kind::Embedding(table) }];
    for l in 0.. {
        let of = |what: [&str; 2]| {
            let names = what.map(|w| format!("rnnlm/multi_rnn_cell/cell_{l}/basic_lstm_cell/{w}"));
            names.into_iter().find(|n| weights.has(n))
        };
        // TensorFlow 1.2 renamed them.
        let Some(kernel) = of(["weights", "kernel"]) else { break };
        let bias = of(["biases", "bias"]).with_context(|| format!("cell {l} has no bias"))?;
        layers.push(lstm(&weights, kernel, &bias)?);
    }
    ensure!(layers.len() > 1, "{} names no basic_lstm_cell", dir.join(MANIFEST).display());
    let weight = weights.matrix("rnnlm/softmax_w")?.transposed();
    let bias = Some(weights.vector("rnnlm/softmax_b")?);
    let dense = Kind::Dense { weight, bias, activation: NONE };
    layers.push(Layer { name: "rnnlm/softmax".into(), kind: dense });
    if weights.has("Variable") {
        // The number of training steps.
        weights.get("Variable")?;
    }
    weights.check_all_used()?;
    let mut notes = Vec::new();
    let vocab = if no_tokenizer {
        Vocab::None
    } else {
        let mut tokens = vocab::read(&dir.join(VOCAB))?;
        mend(&mut tokens, &mut notes);
        tokens.into_vocab()
    };
    Ok(Net {
        input: Input::Tokens,
        steps: None,
        sequence: true,
        layers,
        vocab,
        special: SpecialIds::default(),
        context: None,
        notes,
    })
}

fn read_weights(dir: &Path) -> Result<Arrays> {
    let path = dir.join(MANIFEST);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: BTreeMap<String, Entry> =
        serde_json::from_str(&text).with_context(|| format!("cannot use {}", path.display()))?;
    let mut arrays = Arrays::default();
    for (name, entry) in manifest {
        let local = Path::new(&entry.filename).components().count() == 1
            && !entry.filename.starts_with('.');
        ensure!(local, "{}: {name} lies outside the folder", path.display());
        let file = dir.join(&entry.filename);
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let array = Array::new(entry.shape, numbers::f32s(&bytes));
        arrays.insert(name, array.with_context(|| format!("cannot use {}", file.display()))?)?;
    }
    Ok(arrays)
}

/// `kernel` is (in + H, 4 H), gates i, j, f, o; ours are i, f, g, o.
fn lstm(weights: &Arrays, kernel: String, bias: &str) -> Result<Layer> {
    const ORDER: [usize; 4] = [0, 2, 1, 3];
    let both = weights.matrix(&kernel)?.transposed();
    let bias = weights.vector(bias)?;
    let hidden = both.rows / 4;
    ensure!(
        both.rows == 4 * hidden && both.cols > hidden && bias.len() == both.rows,
        "{kernel} has no shape of an LSTM"
    );
    let both = both.blocks(&ORDER);
    let width = both.cols - hidden;
    let mut forward = Direction {
        ih: both.cols(0, width),
        hh: both.cols(width, both.cols),
        ih_bias: Some(blocks(&bias, &ORDER)),
        hh_bias: None,
    };
    add_forget_bias(&mut forward, FORGET_BIAS);
    let cell = Cell::Lstm { candidate: TANH, recurrent: SIGMOID };
    let r = Recurrent { cell, forward, backward: None, merge: Merge::Concat, sequences: true };
    Ok(Layer { name: kernel, kind: Kind::Recurrent(Box::new(r)) })
}

/// One published vocabulary spells the letters u and U as "  " and "" (ids go by
/// frequency). Texts that are no single character stand for the letters that
/// are missing, if they are as many; small letters are the more frequent.
fn mend(tokens: &mut Tokens, notes: &mut Vec<String>) {
    let single = |t: &[u8]| std::str::from_utf8(t).is_ok_and(|t| t.chars().count() == 1);
    let odd: Vec<usize> = (0..tokens.texts.len()).filter(|&i| !single(&tokens.texts[i])).collect();
    let missing: Vec<String> =
        ('a'..='z').chain('A'..='Z').map(String::from).filter(|c| tokens.id(c).is_none()).collect();
    if odd.is_empty() || odd.len() != missing.len() {
        return;
    }
    for (&id, letter) in odd.iter().zip(&missing) {
        notes.push(format!(
            "{VOCAB} gives the id {id} the text {:?}; taken for {letter}, which is missing",
            String::from_utf8_lossy(&tokens.texts[id])
        ));
        tokens.texts[id] = letter.clone().into_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn missing_letters_are_put_back() {
        let letters = ('a'..='z').chain('A'..='Z').map(String::from);
        let mut list: Vec<String> = letters.filter(|c| !"uU".contains(c.as_str())).collect();
        list.insert(13, "  ".into());
        list.push(String::new());
        let mut notes = Vec::new();
        let mut tokens = vocab::tokens(&json!(list)).unwrap();
        mend(&mut tokens, &mut notes);
        assert_eq!(tokens.id("u"), Some(13));
        assert_eq!(tokens.id("U"), Some(51));
        assert_eq!(notes.len(), 2);
        mend(&mut tokens, &mut notes);
        assert_eq!(notes.len(), 2);
    }
}
