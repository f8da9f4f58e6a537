//! The table of tensors: bound by name, every shape checked.
#![forbid(unsafe_code)]

use super::config::{Config, functions, layers};
use crate::error::{Error, Flaw, NO_LAYER, Result, Word};
use crate::gguf::Gguf;
use crate::models::Keys;
use crate::quant::DType;
use crate::tensor::{Matrix, Slot};
use bytemuck::{Pod, Zeroable};

/// The tensors of one direction of a layer, as places in its row of the table.
static NAMES: [[&str; 7]; 2] = [
    [
        "rnn_ih.weight",
        "rnn_ih.bias",
        "rnn_hh.weight",
        "rnn_hh.bias",
        "rnn_hn.weight",
        "rnn_hn.bias",
        "rnn_init",
    ],
    [
        "rnn_ih_rev.weight",
        "rnn_ih_rev.bias",
        "rnn_hh_rev.weight",
        "rnn_hh_rev.bias",
        "rnn_hn_rev.weight",
        "rnn_hn_rev.bias",
        "rnn_init_rev",
    ],
];
/// From the input; its bias follows.
pub(super) const IH: usize = 0;
/// From the state; its bias follows.
pub(super) const HH: usize = 2;
/// From the state, for the candidate of a GRU that resets before; its bias follows.
pub(super) const HN: usize = 4;
/// The state a sequence begins with.
pub(super) const INIT: usize = 6;

/// A recurrent layer.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Layer {
    /// The tensors, of the forward and of the backward direction.
    slots: [[Slot; 7]; 2],
    /// Numbers in a step of its input.
    pub input: u32,
    /// Numbers in a direction's output, H.
    pub hidden: u32,
    /// Directions.
    pub n_ways: u32,
    /// Where its state begins in all states.
    pub state: u32,
}

/// A dense layer.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Dense {
    weight: Slot,
    bias: Slot,
    /// Numbers in its input.
    pub input: u32,
    /// Numbers in its output.
    pub output: u32,
    /// See [`super::config::Function::at`].
    pub function: u32,
    /// Its number among the layers of its kind.
    number: u32,
}

impl Layer {
    /// A weight and the bias that follows it.
    pub fn affine<'a>(
        &self,
        file: &'a [u8],
        way: usize,
        tensor: usize,
    ) -> Result<(Matrix<'a>, &'a [f32])> {
        let slot = |i| self.slots.get(way).and_then(|way| way.get(i)).ok_or(Error::Internal);
        Ok((slot(tensor)?.matrix(file)?, slot(tensor + 1)?.vector(file)?))
    }

    /// The state that a direction begins with; empty for zeros.
    pub fn init<'a>(&self, file: &'a [u8], way: usize) -> &'a [f32] {
        let slot = self.slots.get(way).and_then(|way| way.get(INIT));
        slot.and_then(|slot| slot.vector(file).ok()).unwrap_or_default()
    }

    /// Numbers of output in a step.
    pub fn output(&self) -> usize {
        self.hidden as usize * self.n_ways as usize
    }
}

impl Dense {
    /// Its matrix, which is `tied` if it has none of its own, and its bias.
    pub fn affine<'a>(&self, file: &'a [u8], tied: &Slot) -> Result<(Matrix<'a>, &'a [f32])> {
        let weight = if self.weight.is_some() { &self.weight } else { tied };
        Ok((weight.matrix(file)?, self.bias.vector(file)?))
    }
}

/// All tensors of a model; empty while memory is only counted.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    pub layers: &'a [Layer],
    /// Those before the recurrent layers, then those after.
    pub dense: &'a [Dense],
    pub token_embd: Slot,
}

/// The same, being filled.
pub(super) struct Draft<'a> {
    pub layers: &'a mut [Layer],
    pub dense: &'a mut [Dense],
    token_embd: Slot,
}

impl<'a> Draft<'a> {
    pub fn new(layers: &'a mut [Layer], dense: &'a mut [Dense]) -> Self {
        Self { layers, dense, token_embd: Slot::default() }
    }

    /// The finished table.
    pub fn done(self) -> Table<'a> {
        Table { layers: self.layers, dense: self.dense, token_embd: self.token_embd }
    }

    /// Fills the table in one walk over the file's tensors, and checks every shape.
    pub fn bind(&mut self, config: &Config, gguf: &Gguf<'_>, keys: &Keys<'_, '_>) -> Result<()> {
        self.layers.fill(Layer::zeroed());
        self.dense.fill(Dense::zeroed());
        for info in gguf.tensors() {
            let Some(slot) = self.place(config, info.name) else { continue };
            if slot.is_some() {
                let (offset, flaw) = (info.described_at, Flaw::TensorTwice);
                return Err(Error::Corrupt { offset, flaw });
            }
            *slot = Slot::new(&info)?;
        }
        if config.n_vocab > 0 {
            let shape = (config.n_vocab, config.n_input);
            check(&self.token_embd, Kind::Matrix, shape, (&"token_embd.weight", NO_LAYER))?;
        }
        let (before, after) =
            self.dense.split_at_mut_checked(config.n_input_dense).ok_or(Error::Internal)?;
        let names: [Word; 2] = [&"input_dense.weight", &"input_dense.bias"];
        let known = functions(keys, &"input_dense_activations", config.n_input_dense)?;
        let width = bind_dense(before, config.n_input, names, known, None)?;
        let width = bind_layers(self.layers, config, keys, width)?;
        let joined = width.checked_mul(config.flatten.max(1)).ok_or(Error::TooLarge)?;
        let known = functions(keys, &"dense_activations", config.n_dense)?;
        let tied = (config.n_vocab > 0).then_some(config.n_vocab);
        bind_dense(after, joined, [&"dense.weight", &"dense.bias"], known, tied)?;
        self.check_tied(config)
    }

    /// The embedding serves as a last matrix only if it has that width.
    fn check_tied(&self, config: &Config) -> Result<()> {
        match self.dense.get(config.n_input_dense..).and_then(|dense| dense.last()) {
            Some(last) if !last.weight.is_some() && last.input as usize != config.n_input => {
                let layer = config.n_dense as u16 - 1;
                Err(Error::MissingTensor { name: &"dense.weight", layer })
            }
            _ => Ok(()),
        }
    }

    /// Where a tensor of this name belongs.
    fn place(&mut self, config: &Config, name: &[u8]) -> Option<&mut Slot> {
        if name == b"token_embd.weight" && config.n_vocab > 0 {
            return Some(&mut self.token_embd);
        }
        if let Some(rest) = name.strip_prefix(b"blk.") {
            let (layer, rest) = number(rest)?;
            let slots = &mut self.layers.get_mut(layer)?.slots;
            let ways = slots.iter_mut().zip(&NAMES);
            return ways
                .flat_map(|(slots, names)| slots.iter_mut().zip(names))
                .find(|(_, name)| name.as_bytes() == rest)
                .map(|(slot, _)| slot);
        }
        let (before, after) = self.dense.split_at_mut_checked(config.n_input_dense)?;
        let (dense, rest) = match name.strip_prefix(b"input_dense.") {
            Some(rest) => (before, rest),
            None => (after, name.strip_prefix(b"dense.")?),
        };
        let (n, rest) = number(rest)?;
        let dense = dense.get_mut(n)?;
        match rest {
            b"weight" => Some(&mut dense.weight),
            b"bias" => Some(&mut dense.bias),
            _ => None,
        }
    }
}

/// `N.rest` taken apart.
pub(super) fn number(name: &[u8]) -> Option<(usize, &[u8])> {
    let dot = name.iter().position(|&b| b == b'.')?;
    let (digits, rest) = name.split_at_checked(dot)?;
    // One spelling for each number, so that no layer has two names.
    if digits.len() > 1 && digits.first() == Some(&b'0') || digits.first() == Some(&b'+') {
        return None;
    }
    Some((core::str::from_utf8(digits).ok()?.parse().ok()?, rest.get(1..)?))
}

/// Fills in the widths of a row of dense layers behind one of `width` numbers,
/// and checks them; returns the last one's width. The last one may be tied to
/// an embedding of so many tokens.
fn bind_dense(
    dense: &mut [Dense],
    mut width: usize,
    [weight, bias]: [Word; 2],
    mut functions: impl Iterator<Item = Result<u32>>,
    tied: Option<usize>,
) -> Result<usize> {
    let n = dense.len();
    for (i, dense) in dense.iter_mut().enumerate() {
        dense.number = i as u32;
        dense.function = functions.next().transpose()?.unwrap_or(0);
        dense.input = u32::try_from(width).map_err(|_| Error::TooLarge)?;
        dense.output = match tied.filter(|_| !dense.weight.is_some() && i + 1 == n) {
            Some(n_vocab) => n_vocab as u32,
            None => {
                let shape = (dense.weight.rows(), width);
                check(&dense.weight, Kind::Matrix, shape, (weight, dense.number as u16))?;
                dense.weight.rows() as u32
            }
        };
        width = dense.output as usize;
        check(&dense.bias, Kind::Optional, (1, width), (bias, dense.number as u16))?;
    }
    Ok(width)
}

/// The same for the recurrent layers.
fn bind_layers(
    table: &mut [Layer],
    config: &Config,
    keys: &Keys<'_, '_>,
    mut width: usize,
) -> Result<usize> {
    let mut state = 0usize;
    for ((i, layer), sizes) in table.iter_mut().enumerate().zip(layers(keys, config.n_layer)?) {
        let (hidden, n_ways) = sizes?;
        layer.input = u32::try_from(width).map_err(|_| Error::TooLarge)?;
        (layer.hidden, layer.n_ways) = (hidden as u32, n_ways as u32);
        layer.state = u32::try_from(state).map_err(|_| Error::TooLarge)?;
        for (slots, names) in layer.slots.iter().zip(&NAMES).take(n_ways) {
            check_way(slots, names, config, (width, hidden), i as u16)?;
        }
        width = layer.output();
        state += width * config.cell.n_states();
    }
    Ok(width)
}

/// Checks the tensors of one direction.
fn check_way(
    slots: &[Slot; 7],
    names: &'static [&'static str; 7],
    config: &Config,
    (input, hidden): (usize, usize),
    layer: u16,
) -> Result<()> {
    let (gates, recurrent) = (config.cell.n_gates() * hidden, config.cell.n_recurrent() * hidden);
    let states = config.cell.n_states() * hidden;
    let candidate = config.cell.has_candidate_matrix();
    let wanted = [
        (Kind::Matrix, (gates, input)),
        (Kind::Optional, (1, gates)),
        (Kind::Matrix, (recurrent, hidden)),
        (Kind::Optional, (1, recurrent)),
        (if candidate { Kind::Matrix } else { Kind::Absent }, (hidden, hidden)),
        (if candidate { Kind::Optional } else { Kind::Absent }, (1, hidden)),
        (Kind::Optional, (1, states)),
    ];
    for ((slot, name), (kind, shape)) in slots.iter().zip(names).zip(wanted) {
        check(slot, kind, shape, (name, layer))?;
    }
    Ok(())
}

/// What a tensor has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Matrix,
    /// A vector that may be absent.
    Optional,
    /// Of another convention than the metadata states.
    Absent,
}

fn check(
    slot: &Slot,
    kind: Kind,
    (rows, cols): (usize, usize),
    (name, layer): (Word, u16),
) -> Result<()> {
    match (slot.is_some(), kind) {
        (false, Kind::Matrix) => Err(Error::MissingTensor { name, layer }),
        (false, _) => Ok(()),
        (true, Kind::Matrix) if slot.has_shape(rows, cols) => Ok(()),
        (true, Kind::Optional) if slot.has_shape(1, cols) && slot.dtype() == Some(DType::F32) => {
            Ok(())
        }
        _ => Err(Error::BadShape { name, layer }),
    }
}
