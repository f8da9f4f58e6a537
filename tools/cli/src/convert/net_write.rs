//! A network as the keys and tensors of docs/FORMAT.md's recurrent files.
#![forbid(unsafe_code)]

use super::arrays::Matrix;
use super::gguf_writer::{Meta, u32_of};
use super::net::{Cell, Dense, Direction, Input, Net, Parts, Recurrent};
use super::source::{Arch, Source, SourceTensor, Vocab};
use anyhow::{Context, Result, ensure};

/// The keys that say what the tensors mean.
pub struct Shape {
    pub arch: &'static str,
    input: Input,
    embedding_length: usize,
    hidden: Vec<usize>,
    bidirectional: Vec<bool>,
    cell: Option<Cell>,
    context: Option<usize>,
    flatten: Option<usize>,
    before: Vec<&'static str>,
    after: Vec<&'static str>,
}

impl Shape {
    /// Adds the keys.
    pub fn metadata(&self, meta: &mut Vec<(String, Meta)>) -> Result<()> {
        let arch = self.arch;
        let mut put = |key: &str, value: Meta| meta.push((format!("{arch}.{key}"), value));
        let number = |key: &str, n: usize| u32_of(&format!("{arch}.{key}"), n);
        put("block_count", number("block_count", self.hidden.len())?);
        if !self.hidden.is_empty() {
            let widths = self.hidden.iter().map(|&h| u32::try_from(h)).collect::<Result<_, _>>()?;
            put("hidden_lengths", Meta::U32s(widths));
        }
        match self.input {
            Input::Tokens => {
                put("embedding_length", number("embedding_length", self.embedding_length)?);
            }
            Input::Vectors(n) => put("input_length", number("input_length", n)?),
        }
        if self.bidirectional.contains(&true) {
            put("bidirectional", Meta::Bools(self.bidirectional.clone()));
        }
        for (key, value) in [("context_length", self.context), ("flatten_steps", self.flatten)] {
            if let Some(n) = value {
                put(key, number(key, n)?);
            }
        }
        for (what, list) in [("input_dense", &self.before), ("dense", &self.after)] {
            if list.is_empty() {
                continue;
            }
            put(&format!("{what}_count"), number(what, list.len())?);
            let names = list.iter().map(|a| a.as_bytes().to_vec()).collect();
            put(&format!("{what}_activations"), Meta::Strings(names));
        }
        match &self.cell {
            Some(Cell::Rnn { activation }) => put("activation", Meta::str(activation)),
            Some(Cell::Gru { reset_after, candidate, recurrent }) => {
                put("gate_order", Meta::str("rzn"));
                put("reset_after", Meta::Bool(*reset_after));
                put("candidate_activation", Meta::str(candidate));
                put("recurrent_activation", Meta::str(recurrent));
            }
            Some(Cell::Lstm { candidate, recurrent }) => {
                put("gate_order", Meta::str("ifgo"));
                put("candidate_activation", Meta::str(candidate));
                put("recurrent_activation", Meta::str(recurrent));
            }
            None => {}
        }
        Ok(())
    }
}

/// Turns a network into what the writer takes.
pub fn source(net: Net) -> Result<Source> {
    let parts = net.parts()?;
    check_vocabulary(&net.vocab, &parts)?;
    let cell = parts.recurrent.first().map(|(_, r)| r.cell.clone());
    let shape = Shape {
        arch: cell.as_ref().map_or("rnn", Cell::name),
        input: parts.input,
        embedding_length: parts.embedding.as_ref().map_or(0, |e| e.cols),
        hidden: parts.recurrent.iter().map(|(_, r)| r.hidden()).collect(),
        bidirectional: parts.recurrent.iter().map(|(_, r)| r.backward.is_some()).collect(),
        cell,
        context: net.context,
        flatten: parts.flatten,
        before: parts.before.iter().map(|d| d.activation).collect(),
        after: parts.after.iter().map(|d| d.activation).collect(),
    };
    let mut notes = net.notes;
    let tensors = tensors(parts, &mut notes)?;
    Ok(Source {
        arch: Arch::Recurrent(shape),
        vocab: net.vocab,
        special: net.special,
        tensors,
        notes,
    })
}

fn check_vocabulary(vocab: &Vocab, parts: &Parts) -> Result<()> {
    let Vocab::Pieces { tokens, .. } = vocab else { return Ok(()) };
    let table = parts.embedding.as_ref();
    let n = table.context("the model takes vectors, and a vocabulary is for tokens")?.rows;
    ensure!(
        tokens.len() == n,
        "the vocabulary has {} texts and the embedding {n} rows",
        tokens.len()
    );
    Ok(())
}

fn tensors(parts: Parts, notes: &mut Vec<String>) -> Result<Vec<SourceTensor>> {
    let mut out = Tensors(Vec::new());
    let tied = is_tied(&parts);
    if tied {
        notes.push("the last layer is the embedding again, and the file holds it once".into());
    }
    if let Some(table) = parts.embedding {
        out.matrix("token_embd.weight".into(), "the embedding", table);
    }
    out.dense("input_dense", parts.before, false);
    for (n, (name, layer)) in parts.recurrent.into_iter().enumerate() {
        out.recurrent(n, &name, layer)?;
    }
    out.dense("dense", parts.after, tied);
    Ok(out.0)
}

/// Whether the last dense layer's matrix is the embedding.
fn is_tied(parts: &Parts) -> bool {
    match (&parts.embedding, parts.after.last()) {
        (Some(table), Some(last)) => *table == last.weight,
        _ => false,
    }
}

struct Tensors(Vec<SourceTensor>);

impl Tensors {
    fn matrix(&mut self, name: String, origin: &str, m: Matrix) {
        let (rows, cols, data) = (m.rows, m.cols, m.data);
        let load = Box::new(move || Ok(data.clone()));
        self.0.push(SourceTensor { name, origin: origin.into(), rows: Some(rows), cols, load });
    }

    /// A bias of zeros is as good as none.
    fn bias(&mut self, name: String, origin: &str, bias: Option<Vec<f32>>) {
        let Some(data) = bias.filter(|b| b.iter().any(|&x| x != 0.0)) else { return };
        let cols = data.len();
        let load = Box::new(move || Ok(data.clone()));
        self.0.push(SourceTensor { name, origin: origin.into(), rows: None, cols, load });
    }

    fn dense(&mut self, what: &str, list: Vec<Dense>, last_is_tied: bool) {
        let n_layers = list.len();
        for (n, d) in list.into_iter().enumerate() {
            if !(last_is_tied && n + 1 == n_layers) {
                self.matrix(format!("{what}.{n}.weight"), &d.name, d.weight);
            }
            self.bias(format!("{what}.{n}.bias"), &d.name, d.bias);
        }
    }

    fn recurrent(&mut self, n: usize, name: &str, r: Recurrent) -> Result<()> {
        self.direction(n, "", name, &r.cell, r.forward)?;
        if let Some(backward) = r.backward {
            self.direction(n, "_rev", name, &r.cell, backward)?;
        }
        Ok(())
    }

    fn direction(
        &mut self,
        n: usize,
        rev: &str,
        origin: &str,
        cell: &Cell,
        mut d: Direction,
    ) -> Result<()> {
        let own = |part: &str, what: &str| format!("blk.{n}.{part}{rev}.{what}");
        let apart = matches!(cell, Cell::Gru { reset_after: false, .. });
        let stays = matches!(cell, Cell::Gru { .. });
        if !stays {
            // Both are added before anything else happens to them.
            d.ih_bias = sum(d.ih_bias, d.hh_bias.take());
        }
        self.matrix(own("rnn_ih", "weight"), origin, d.ih);
        self.bias(own("rnn_ih", "bias"), origin, d.ih_bias);
        if !apart {
            self.matrix(own("rnn_hh", "weight"), origin, d.hh);
            self.bias(own("rnn_hh", "bias"), origin, d.hh_bias);
            return Ok(());
        }
        let hidden = d.hh.cols;
        ensure!(d.hh.rows == 3 * hidden, "a GRU has three gates");
        self.matrix(own("rnn_hh", "weight"), origin, d.hh.rows(0, 2 * hidden));
        self.matrix(own("rnn_hn", "weight"), origin, d.hh.rows(2 * hidden, 3 * hidden));
        if let Some(bias) = d.hh_bias {
            self.bias(own("rnn_hh", "bias"), origin, Some(bias[..2 * hidden].to_vec()));
            self.bias(own("rnn_hn", "bias"), origin, Some(bias[2 * hidden..].to_vec()));
        }
        Ok(())
    }
}

/// The sum of two biases, either of which may be missing.
fn sum(a: Option<Vec<f32>>, b: Option<Vec<f32>>) -> Option<Vec<f32>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.iter().zip(&b).map(|(x, y)| x + y).collect()),
        (a, b) => a.or(b),
    }
}
