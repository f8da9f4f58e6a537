//! What the metadata says: the cell, its conventions, the widths.
#![forbid(unsafe_code)]

use super::tensors::{AFTER, BEFORE, parts};
use crate::error::{Error, NO_LAYER, Result, Word};
use crate::gguf::{Array, Gguf, is};
use crate::models::{Keys, Whole};
use crate::tensor::Activation;

/// The most layers of each kind that a file may have.
pub(super) const MAX_LAYERS: usize = 64;

/// Which network all layers are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// One gate, no memory but the output.
    Elman,
    /// Gates r, z, n.
    Gru {
        /// Whether r multiplies the product with the state, or the state itself.
        reset_after: bool,
    },
    /// Gates i, f, g, o, and a cell state beside the output.
    Lstm,
}

impl Cell {
    /// Blocks of H rows in a layer's matrix for its input.
    #[must_use]
    pub fn n_gates(self) -> usize {
        match self {
            Self::Elman => 1,
            Self::Gru { .. } => 3,
            Self::Lstm => 4,
        }
    }

    /// Blocks of H rows in a layer's matrix for its state.
    #[must_use]
    pub fn n_recurrent(self) -> usize {
        match self {
            Self::Gru { reset_after: false } => 2,
            cell => cell.n_gates(),
        }
    }

    /// Vectors of H numbers that a direction keeps.
    #[must_use]
    pub fn n_states(self) -> usize {
        if self == Self::Lstm { 2 } else { 1 }
    }

    /// Whether the candidate's recurrent product comes after r, from a matrix of its own.
    #[must_use]
    pub fn has_candidate_matrix(self) -> bool {
        self == Self::Gru { reset_after: false }
    }
}

/// The sizes and conventions of a model, all that a session's layout depends on.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The cell of every layer.
    pub cell: Cell,
    /// Its function: of the output, or of the candidate and of an LSTM's cell state.
    pub candidate: Activation,
    /// The function of its other gates.
    pub recurrent: Activation,
    /// Tokens in the vocabulary; 0 for a model of vectors.
    pub n_vocab: usize,
    /// Numbers in a step of input: of the token's embedding, or of the vector.
    pub n_input: usize,
    /// Numbers of output.
    pub n_output: usize,
    /// Tokens that a session remembers; steps of a whole input.
    pub n_ctx: usize,
    /// Recurrent layers.
    pub n_layer: usize,
    /// Dense layers before them.
    pub n_input_dense: usize,
    /// Dense layers after them.
    pub n_dense: usize,
    /// Whether a layer runs in both directions.
    pub bidirectional: bool,
    /// Steps whose outputs the dense layers take together; 0 if they take one.
    pub flatten: usize,
    /// Numbers that a sequence keeps from step to step.
    pub n_state: usize,
    /// The widest layer's output, of any kind.
    pub widest: usize,
    /// The most gates of a layer, both directions together.
    pub widest_gates: usize,
    /// Numbers in a table of what the first layer's matrix makes of each token: a
    /// mark and the product. 0 if there are more tokens than the matrix has
    /// columns, so that it takes no more room than the matrix in F32; if the
    /// layer runs in both directions; and without the feature `text`.
    pub n_table: usize,
    /// The last recurrent layer's output, or what there is in its place.
    pub n_hidden: usize,
    /// Whether the last dense layer has the embedding for its matrix.
    pub tied: bool,
}

impl Config {
    /// Reads the metadata, and of the tensors the shapes that it leaves open.
    /// `kind` is the architecture's place among `rnn`, `gru`, `lstm`.
    pub(super) fn read(gguf: &Gguf<'_>, keys: &mut Keys<'_, '_>, kind: usize) -> Result<Self> {
        let candidate: Word = if kind == 0 { &"activation" } else { &"candidate_activation" };
        let n_layer = count(keys, &"block_count", None);
        let is_vectors = keys.has("input_length");
        let mut config = Self {
            cell: cell(keys, kind, n_layer),
            candidate: activation(keys, candidate, Activation::Tanh),
            recurrent: activation(keys, &"recurrent_activation", Activation::Sigmoid),
            n_vocab: 0,
            n_input: keys
                .size(if is_vectors { &"input_length" } else { &"embedding_length" }, None),
            n_output: 0,
            n_ctx: keys.size(&"context_length", Some(1024)),
            n_layer,
            n_input_dense: count(keys, &"input_dense_count", Some(0)),
            n_dense: count(keys, &"dense_count", Some(0)),
            bidirectional: false,
            flatten: keys.size(&"flatten_steps", Some(0)),
            n_state: 0,
            widest: 0,
            widest_gates: 0,
            n_table: 0,
            n_hidden: 0,
            tied: true,
        };
        // A gate has to stay in 0..=1.
        use Activation::{HardSigmoid, HardSigmoid6, Sigmoid};
        if !matches!(config.recurrent, Sigmoid | HardSigmoid | HardSigmoid6) {
            keys.refuse(&"recurrent_activation");
        }
        if is_vectors && keys.has("embedding_length") {
            keys.refuse(&"input_length");
        }
        if config.flatten > 0 && config.n_dense == 0 {
            keys.refuse(&"flatten_steps");
        }
        config.read_shapes(gguf, keys);
        if is_vectors {
            config.n_vocab = 0;
        } else if config.n_vocab == 0 {
            keys.fail(Error::MissingTensor { name: &"token_embd.weight", layer: NO_LAYER });
        }
        config.read_layers(keys);
        keys.failed?;
        if config.n_dense == 0 {
            (config.n_output, config.tied) = (config.n_hidden, false);
        } else if config.tied {
            config.n_output = config.n_vocab;
        }
        let widest = config.n_input.max(config.n_output).max(config.n_hidden);
        config.widest = config.widest.max(widest);
        Ok(config)
    }

    /// Walks the tensors, for the widths of the embedding and of the dense layers.
    fn read_shapes(&mut self, gguf: &Gguf<'_>, keys: &mut Keys<'_, '_>) {
        self.n_hidden = self.n_input;
        for info in gguf.tensors() {
            if u32::try_from(info.rows).is_err() {
                keys.fail(Error::TooLarge);
            }
            if is(info.name, "token_embd.weight") {
                self.n_vocab = info.rows;
            }
            let Some((kind, n, rest)) = parts(info.name) else { continue };
            if !is(rest, "weight") {
                continue;
            }
            let (before, after) = (kind == BEFORE, kind == AFTER);
            if before && n + 1 == self.n_input_dense {
                self.n_hidden = info.rows;
            }
            if after && n + 1 == self.n_dense {
                (self.n_output, self.tied) = (info.rows, false);
            }
            if before || after {
                self.widest = self.widest.max(info.rows);
            }
        }
    }

    /// Walks the layers, for what their widths add up to.
    fn read_layers(&mut self, keys: &mut Keys<'_, '_>) {
        let layers = Layers::read(keys, self.n_layer);
        for layer in 0..self.n_layer {
            let (hidden, n_ways) = layers.get(layer, keys);
            if layer == 0 && n_ways == 1 && self.n_vocab <= self.n_hidden && cfg!(feature = "text")
            {
                self.n_table = self.n_vocab.saturating_mul(1 + hidden * self.cell.n_gates());
            }
            self.n_hidden = hidden * n_ways;
            self.n_state = self.n_state.saturating_add(self.n_hidden * self.cell.n_states());
            self.widest_gates = self.widest_gates.max(self.n_hidden * self.cell.n_gates());
            self.widest = self.widest.max(self.n_hidden);
            self.bidirectional |= n_ways == 2;
        }
    }

    /// Whether a sequence has to be given at once.
    #[must_use]
    pub fn whole_input(&self) -> Whole {
        match (self.flatten, self.bidirectional) {
            (0, true) => Whole::AtMost(self.n_ctx),
            (0, false) => Whole::No,
            (joined, _) => Whole::Exactly(joined),
        }
    }

    /// Whether text can be written with it: tokens in, logits out, step by step.
    #[must_use]
    pub fn is_language_model(&self) -> bool {
        self.n_vocab > 0
            && self.n_output == self.n_vocab
            && !self.bidirectional
            && self.flatten == 0
    }
}

/// A number of layers.
fn count(keys: &mut Keys<'_, '_>, key: Word, absent: Option<usize>) -> usize {
    keys.whole(key, (0, MAX_LAYERS as u64), absent)
}

/// The cell that the architecture names, with its conventions.
fn cell(keys: &mut Keys<'_, '_>, kind: usize, n_layer: usize) -> Cell {
    let (order, cell): (&[u8], _) = match kind {
        0 => return Cell::Elman,
        1 => (b"rzn", Cell::Gru { reset_after: true }),
        _ => (b"ifgo", Cell::Lstm),
    };
    if n_layer == 0 {
        return cell;
    }
    if keys.get("gate_order").and_then(|value| value.as_str()) != Some(order) {
        keys.refuse(&"gate_order");
    }
    if cell == Cell::Lstm {
        return cell;
    }
    let reset_after = keys.get("reset_after").and_then(|value| value.as_bool());
    if reset_after.is_none() {
        keys.refuse(&"reset_after");
    }
    Cell::Gru { reset_after: reset_after.unwrap_or_default() }
}

/// The names of functions in the file. [`SOFTMAX`], the last, is not one of each element.
const FUNCTIONS: [(&str, Activation); 9] = [
    ("none", Activation::None),
    ("relu", Activation::Relu),
    ("tanh", Activation::Tanh),
    ("sigmoid", Activation::Sigmoid),
    ("hard_sigmoid", Activation::HardSigmoid),
    ("hard_sigmoid_6", Activation::HardSigmoid6),
    ("gelu_tanh", Activation::GeluTanh),
    ("gelu_erf", Activation::GeluErf),
    ("softmax", Activation::None),
];

/// The place of softmax among the functions.
pub(super) const SOFTMAX: u32 = 8;

/// The function at a place.
pub(super) fn function(place: u32) -> Activation {
    FUNCTIONS.get(place as usize).map_or(Activation::None, |f| f.1)
}

fn place(name: Option<&[u8]>) -> Option<u32> {
    let same = |f: &(&str, Activation)| name == Some(f.0.as_bytes());
    FUNCTIONS.iter().position(same).map(|place| place as u32)
}

fn activation(keys: &mut Keys<'_, '_>, key: Word, absent: Activation) -> Activation {
    let Some(value) = keys.get(key) else { return absent };
    let place = place(value.as_str()).filter(|place| *place != SOFTMAX);
    if place.is_none() {
        keys.refuse(key);
    }
    place.map_or(absent, function)
}

/// An array of a value for each of `n` layers; empty if it is not there.
#[inline(never)]
fn array<'a>(keys: &mut Keys<'_, 'a>, key: Word, n: usize) -> Array<'a> {
    let Some(value) = keys.get(key) else { return Array::default() };
    let array = value.as_array().filter(|array| array.len() == n);
    if array.is_none() {
        keys.refuse(key);
    }
    array.unwrap_or_default()
}

/// What the metadata says of each recurrent layer.
pub(super) struct Layers<'a> {
    widths: Array<'a>,
    both: Array<'a>,
}

impl<'a> Layers<'a> {
    pub fn read(keys: &mut Keys<'_, 'a>, n: usize) -> Self {
        let widths = array(keys, &"hidden_lengths", n);
        if widths.is_empty() && n > 0 {
            keys.refuse(&"hidden_lengths");
        }
        Self { widths, both: array(keys, &"bidirectional", n) }
    }

    /// A layer's width and number of directions; 0 and 1 after a failure.
    #[inline(never)]
    pub fn get(&self, layer: usize, keys: &mut Keys<'_, '_>) -> (usize, usize) {
        const MAX: u64 = 1 << 24;
        let width = self.widths.get(layer).and_then(|value| value.as_u64());
        let width = width.filter(|n| (1..=MAX).contains(n)).unwrap_or_default();
        if width == 0 {
            keys.refuse(&"hidden_lengths");
        }
        let both = self.both.get(layer).map_or(Some(false), |value| value.as_bool());
        if both.is_none() {
            keys.refuse(&"bidirectional");
        }
        (width as usize, 1 + usize::from(both.unwrap_or_default()))
    }
}

/// The functions of `n` dense layers.
pub(super) struct Functions<'a> {
    key: Word,
    names: Array<'a>,
}

impl<'a> Functions<'a> {
    pub fn read(keys: &mut Keys<'_, 'a>, key: Word, n: usize) -> Self {
        Self { key, names: array(keys, key, n) }
    }

    /// The place of a layer's function; 0 after a failure.
    pub fn get(&self, layer: usize, keys: &mut Keys<'_, '_>) -> u32 {
        let Some(name) = self.names.get(layer) else { return 0 };
        let place = place(name.as_str());
        if place.is_none() {
            keys.refuse(self.key);
        }
        place.unwrap_or_default()
    }
}
