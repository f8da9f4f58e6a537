//! What the metadata says: the cell, its conventions, the widths.
#![forbid(unsafe_code)]

use crate::error::{Error, NO_LAYER, Result, Word};
use crate::gguf::{Array, Gguf, Value};
use crate::models::{Keys, Whole};
use crate::tensor::Activation;

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

/// What is done to a dense layer's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// The same to each.
    Each(Activation),
    /// To all together.
    Softmax,
}

/// The names in the file; a dense layer's place here is kept in its row of the table.
const FUNCTIONS: [(&[u8], Function); 9] = [
    (b"none", Function::Each(Activation::None)),
    (b"relu", Function::Each(Activation::Relu)),
    (b"tanh", Function::Each(Activation::Tanh)),
    (b"sigmoid", Function::Each(Activation::Sigmoid)),
    (b"hard_sigmoid", Function::Each(Activation::HardSigmoid)),
    (b"hard_sigmoid_6", Function::Each(Activation::HardSigmoid6)),
    (b"gelu_tanh", Function::Each(Activation::GeluTanh)),
    (b"gelu_erf", Function::Each(Activation::GeluErf)),
    (b"softmax", Function::Softmax),
];

impl Function {
    /// The function at a place of the list; none beyond it.
    #[must_use]
    pub fn at(place: u32) -> Self {
        FUNCTIONS.get(place as usize).map_or(Self::Each(Activation::None), |f| f.1)
    }

    fn place(name: &[u8]) -> Option<u32> {
        FUNCTIONS.iter().position(|f| f.0 == name).map(|place| place as u32)
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
    /// The last recurrent layer's output, or what there is in its place.
    pub n_hidden: usize,
    /// Whether the last dense layer has the embedding for its matrix.
    pub tied: bool,
}

impl Config {
    /// Reads the metadata, and of the tensors the shapes that it leaves open.
    pub(super) fn read(gguf: &Gguf<'_>, keys: &Keys<'_, '_>) -> Result<Self> {
        let n_layer =
            keys.count(&"block_count")?.ok_or(Error::MissingKey { key: &"block_count" })?;
        let mut config = Self {
            cell: cell(keys, n_layer)?,
            candidate: activation(keys, candidate_key(keys))?.unwrap_or(Activation::Tanh),
            recurrent: recurrent_activation(keys)?,
            n_vocab: 0,
            n_input: 0,
            n_output: 0,
            n_ctx: if keys.has("context_length") { keys.size(&"context_length")? } else { 1024 },
            n_layer,
            n_input_dense: keys.count(&"input_dense_count")?.unwrap_or(0),
            n_dense: keys.count(&"dense_count")?.unwrap_or(0),
            bidirectional: false,
            flatten: if keys.has("flatten_steps") { keys.size(&"flatten_steps")? } else { 0 },
            n_state: 0,
            widest: 0,
            widest_gates: 0,
            n_hidden: 0,
            tied: false,
        };
        // A layer has tensors of its own (the last one may be tied), so a file
        // of n tensors has no more than n layers of a kind.
        let most = gguf.n_tensors() + 1;
        for (n, key) in [
            (config.n_layer, &"block_count"),
            (config.n_input_dense, &"input_dense_count"),
            (config.n_dense, &"dense_count"),
        ] {
            if n > most {
                return Err(Error::BadValue { key });
            }
        }
        config.read_input(gguf, keys)?;
        let dense = Widths::read(gguf, &config)?;
        config.n_hidden = dense.last_before.unwrap_or(config.n_input);
        config.widest = dense.widest.max(config.n_input);
        config.read_layers(keys)?;
        config.n_output = match (config.n_dense, dense.last) {
            (0, _) => config.n_hidden,
            (_, Some(rows)) => rows,
            // Tied to the embedding.
            (n, None) if config.n_vocab == 0 => {
                return Err(Error::MissingTensor { name: &"dense.weight", layer: n as u16 - 1 });
            }
            (_, None) => config.n_vocab,
        };
        config.tied = config.n_dense > 0 && dense.last.is_none();
        if config.flatten > 0 && config.n_dense == 0 {
            return Err(Error::BadValue { key: &"flatten_steps" });
        }
        config.widest = config.widest.max(config.n_output).max(config.n_hidden);
        Ok(config)
    }

    fn read_input(&mut self, gguf: &Gguf<'_>, keys: &Keys<'_, '_>) -> Result<()> {
        match (keys.has("embedding_length"), keys.has("input_length")) {
            (true, false) => {
                self.n_input = keys.size(&"embedding_length")?;
                let missing = Error::MissingTensor { name: &"token_embd.weight", layer: NO_LAYER };
                let table = gguf.tensors().find(|t| t.name == b"token_embd.weight");
                self.n_vocab = narrow(table.ok_or(missing)?.rows)?;
            }
            (false, true) => self.n_input = keys.size(&"input_length")?,
            (false, false) => return Err(Error::MissingKey { key: &"embedding_length" }),
            (true, true) => return Err(Error::BadValue { key: &"input_length" }),
        }
        Ok(())
    }

    /// Walks the layers, for what their widths add up to.
    fn read_layers(&mut self, keys: &Keys<'_, '_>) -> Result<()> {
        for layer in layers(keys, self.n_layer)? {
            let (hidden, n_ways) = layer?;
            let gates = hidden * n_ways * self.cell.n_gates();
            let states = hidden * n_ways * self.cell.n_states();
            self.n_state = self.n_state.checked_add(states).ok_or(Error::TooLarge)?;
            u32::try_from(self.n_state).map_err(|_| Error::TooLarge)?;
            self.widest_gates = self.widest_gates.max(gates);
            self.n_hidden = hidden * n_ways;
            self.widest = self.widest.max(self.n_hidden);
            self.bidirectional |= n_ways == 2;
        }
        Ok(())
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

fn narrow(n: usize) -> Result<usize> {
    u32::try_from(n).map(|n| n as usize).map_err(|_| Error::TooLarge)
}

/// The cell that the architecture names, with its conventions.
fn cell(keys: &Keys<'_, '_>, n_layer: usize) -> Result<Cell> {
    let order = |canonical: &[u8]| match keys.text("gate_order") {
        None if n_layer == 0 => Ok(()),
        None => Err(Error::MissingKey { key: &"gate_order" }),
        Some(order) if order == canonical => Ok(()),
        Some(_) => Err(Error::BadValue { key: &"gate_order" }),
    };
    match keys.prefix() {
        "lstm." => order(b"ifgo").map(|()| Cell::Lstm),
        "gru." => {
            order(b"rzn")?;
            let reset_after = match keys.get("reset_after") {
                None if n_layer == 0 => true,
                None => return Err(Error::MissingKey { key: &"reset_after" }),
                Some(value) => value.as_bool().ok_or(Error::BadValue { key: &"reset_after" })?,
            };
            Ok(Cell::Gru { reset_after })
        }
        _ => Ok(Cell::Elman),
    }
}

fn candidate_key(keys: &Keys<'_, '_>) -> Word {
    if keys.prefix() == "rnn." { &"activation" } else { &"candidate_activation" }
}

fn activation(keys: &Keys<'_, '_>, key: Word) -> Result<Option<Activation>> {
    let Some(value) = keys.get(key) else { return Ok(None) };
    match value.as_str().and_then(Function::place).map(Function::at) {
        Some(Function::Each(activation)) => Ok(Some(activation)),
        _ => Err(Error::BadValue { key }),
    }
}

/// A gate's function has to stay in 0..=1.
fn recurrent_activation(keys: &Keys<'_, '_>) -> Result<Activation> {
    use Activation::{HardSigmoid, HardSigmoid6, Sigmoid};
    const KEY: Word = &"recurrent_activation";
    match activation(keys, KEY)?.unwrap_or(Sigmoid) {
        gate @ (Sigmoid | HardSigmoid | HardSigmoid6) => Ok(gate),
        _ => Err(Error::BadValue { key: KEY }),
    }
}

/// An array that must be there unless it would be empty, of `n` elements.
fn array<'a>(keys: &Keys<'_, 'a>, key: Word, n: usize) -> Result<Option<Array<'a>>> {
    match keys.get(key) {
        None => Ok(None),
        Some(Value::Array(array)) if array.len() == n => Ok(Some(array)),
        Some(_) => Err(Error::BadValue { key }),
    }
}

/// Each layer's width and number of directions.
pub(super) fn layers<'a>(
    keys: &Keys<'_, 'a>,
    n_layer: usize,
) -> Result<impl Iterator<Item = Result<(usize, usize)>> + use<'a>> {
    const MAX: u64 = 1 << 24;
    let widths = array(keys, &"hidden_lengths", n_layer)?;
    if widths.is_none() && n_layer > 0 {
        return Err(Error::MissingKey { key: &"hidden_lengths" });
    }
    let both = array(keys, &"bidirectional", n_layer)?;
    let mut both = both.into_iter().flat_map(|b| b.iter());
    Ok(widths.into_iter().flat_map(|w| w.iter()).map(move |width| {
        let width = width.as_u64().filter(|n| (1..=MAX).contains(n));
        let width = width.ok_or(Error::BadValue { key: &"hidden_lengths" })?;
        let both = match both.next() {
            None => false,
            Some(value) => value.as_bool().ok_or(Error::BadValue { key: &"bidirectional" })?,
        };
        Ok((width as usize, 1 + usize::from(both)))
    }))
}

/// The places in the list of functions, one per dense layer.
pub(super) fn functions<'a>(
    keys: &Keys<'_, 'a>,
    key: Word,
    n: usize,
) -> Result<impl Iterator<Item = Result<u32>> + use<'a>> {
    let names = array(keys, key, n)?;
    Ok(names
        .into_iter()
        .flat_map(|names| names.iter())
        .map(move |name| name.as_str().and_then(Function::place).ok_or(Error::BadValue { key })))
}

/// What the shapes of the dense layers' matrices say, read in one walk.
#[derive(Default)]
struct Widths {
    widest: usize,
    last_before: Option<usize>,
    last: Option<usize>,
}

impl Widths {
    fn read(gguf: &Gguf<'_>, config: &Config) -> Result<Self> {
        let mut widths = Self::default();
        for info in gguf.tensors() {
            let before = numbered(info.name, b"input_dense.").filter(|n| *n < config.n_input_dense);
            let after = numbered(info.name, b"dense.").filter(|n| *n < config.n_dense);
            let rows = narrow(info.rows)?;
            if before.or(after).is_some() {
                widths.widest = widths.widest.max(rows);
            }
            if before.is_some_and(|n| n + 1 == config.n_input_dense) {
                widths.last_before = Some(rows);
            }
            if after.is_some_and(|n| n + 1 == config.n_dense) {
                widths.last = Some(rows);
            }
        }
        Ok(widths)
    }
}

/// N of a matrix `<prefix>N.weight`.
fn numbered(name: &[u8], prefix: &[u8]) -> Option<usize> {
    let (n, rest) = super::tensors::number(name.strip_prefix(prefix)?)?;
    (rest == b"weight").then_some(n)
}
