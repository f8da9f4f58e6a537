//! The table of tensors: bound by name, every shape checked.
#![forbid(unsafe_code)]

use super::config::{Config, Functions, Layers};
use crate::error::{Error, Flaw, NO_LAYER, Result, Word};
use crate::gguf::{Gguf, is, one_of};
use crate::models::{Keys, numbered};
use crate::quant::DType;
use crate::tensor::Slot;
use bytemuck::{Pod, Zeroable};

/// The tensors of a layer, as places in its row of the table: of the forward
/// direction, then of the backward one.
const NAMES: [&str; 2 * WAY] = [
    "rnn_ih.weight",
    "rnn_ih.bias",
    "rnn_hh.weight",
    "rnn_hh.bias",
    "rnn_hn.weight",
    "rnn_hn.bias",
    "rnn_init",
    "rnn_ih_rev.weight",
    "rnn_ih_rev.bias",
    "rnn_hh_rev.weight",
    "rnn_hh_rev.bias",
    "rnn_hn_rev.weight",
    "rnn_hn_rev.bias",
    "rnn_init_rev",
];
/// Tensors of a direction.
const WAY: usize = 7;
/// From the input; its bias follows.
pub(super) const IH: usize = 0;
/// From the state; its bias follows.
pub(super) const HH: usize = 2;
/// From the state, for the candidate of a GRU that resets before; its bias follows.
pub(super) const HN: usize = 4;
/// The state a sequence begins with.
const INIT: usize = 6;

/// A recurrent layer.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Layer {
    slots: [Slot; 2 * WAY],
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
    pub weight: Slot,
    pub bias: Slot,
    /// Numbers in its input.
    pub input: u32,
    /// Numbers in its output.
    pub output: u32,
    /// See [`super::config::function`].
    pub function: u32,
    reserved: u32,
}

impl Layer {
    /// A tensor of a direction and the one that follows it; nothing if there is no such.
    pub fn pair(&self, way: usize, tensor: usize) -> (Slot, Slot) {
        let slot = |i| self.slots.get(way * WAY + i).copied().unwrap_or_default();
        (slot(tensor), slot(tensor + 1))
    }

    /// The state that a direction begins with; empty for zeros.
    pub fn init<'a>(&self, file: &'a [u8], way: usize) -> &'a [f32] {
        self.pair(way, INIT).0.vector(file).unwrap_or_default()
    }

    /// Numbers of output in a step.
    pub fn output(&self) -> usize {
        self.hidden as usize * self.n_ways as usize
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
    pub token_embd: Slot,
}

impl<'a> Draft<'a> {
    /// The finished table.
    pub fn done(self) -> Table<'a> {
        Table { layers: self.layers, dense: self.dense, token_embd: self.token_embd }
    }

    /// Fills the table in one walk over the file's tensors, and checks every shape.
    pub fn bind(
        &mut self,
        config: &Config,
        gguf: &Gguf<'_>,
        keys: &mut Keys<'_, '_>,
    ) -> Result<()> {
        bytemuck::fill_zeroes(self.layers);
        bytemuck::fill_zeroes(self.dense);
        for info in gguf.tensors() {
            let Some(slot) = self.place(config, info.name) else { continue };
            if slot.is_some() {
                return Err(Error::Corrupt { offset: info.described_at, flaw: Flaw::TensorTwice });
            }
            *slot = Slot::new(&info)?;
        }
        if config.n_vocab > 0 {
            let shape = (config.n_vocab, config.n_input);
            Want::Matrix.check(&self.token_embd, shape, (&"token_embd.weight", NO_LAYER), keys);
        }
        let mut width = config.n_input;
        let (before, after) =
            self.dense.split_at_mut_checked(config.n_input_dense).ok_or(Error::Internal)?;
        let names: [Word; 2] = [&"input_dense.weight", &"input_dense.bias"];
        let known = Functions::read(keys, &"input_dense_activations", before.len());
        bind_dense(before, &mut width, names, (&known, keys), 0);
        bind_layers(self.layers, config, keys, &mut width);
        width = width.checked_mul(config.flatten.max(1)).unwrap_or_else(|| {
            keys.fail(Error::TooLarge);
            0
        });
        let known = Functions::read(keys, &"dense_activations", after.len());
        // The embedding serves as the last matrix only if it has that width.
        let tied = if config.tied { config.n_vocab } else { 0 };
        let names: [Word; 2] = [&"dense.weight", &"dense.bias"];
        bind_dense(after, &mut width, names, (&known, keys), tied);
        let last = after.last().filter(|last| config.tied && last.input as usize != config.n_input);
        if last.is_some() {
            keys.fail(Error::BadShape { name: &"token_embd.weight", layer: NO_LAYER });
        }
        keys.failed
    }

    /// Where a tensor of this name belongs.
    fn place(&mut self, config: &Config, name: &[u8]) -> Option<&mut Slot> {
        if is(name, "token_embd.weight") {
            return Some(&mut self.token_embd);
        }
        let (kind, n, rest) = parts(name)?;
        if kind == LAYER {
            return self.layers.get_mut(n)?.slots.get_mut(one_of(rest, &NAMES)?);
        }
        let (before, after) = self.dense.split_at_mut_checked(config.n_input_dense)?;
        let dense = if kind == BEFORE { before } else { after }.get_mut(n)?;
        let is_bias = one_of(rest, &["weight", "bias"])? == 1;
        Some(if is_bias { &mut dense.bias } else { &mut dense.weight })
    }
}

/// The kinds of layers, as places in the list of their names.
const KINDS: [&str; 3] = ["blk.", "input_dense.", "dense."];
const LAYER: usize = 0;
/// Dense layers before the recurrent ones; those after are the third kind.
pub(super) const BEFORE: usize = 1;
pub(super) const AFTER: usize = 2;

/// `kind.N.rest` taken apart; the kind is a place in [`KINDS`].
#[inline(never)]
pub(super) fn parts(name: &[u8]) -> Option<(usize, usize, &[u8])> {
    let mut kinds = KINDS.iter().enumerate();
    let (kind, rest) =
        kinds.find_map(|(i, kind)| Some((i, name.strip_prefix(kind.as_bytes())?)))?;
    let (n, rest) = numbered(rest)?;
    Some((kind, n, rest))
}

/// Fills in the widths of a row of dense layers behind one of `width` numbers,
/// which becomes the last one's, and checks them. A last one without a matrix
/// has as many outputs as `tied`.
fn bind_dense(
    dense: &mut [Dense],
    width: &mut usize,
    [weight, bias]: [Word; 2],
    (functions, keys): (&Functions<'_>, &mut Keys<'_, '_>),
    tied: usize,
) {
    let n = dense.len();
    for (i, dense) in dense.iter_mut().enumerate() {
        dense.function = functions.get(i, keys);
        dense.input = u32::try_from(*width).unwrap_or_else(|_| {
            keys.fail(Error::TooLarge);
            0
        });
        let mut output = dense.weight.rows();
        if tied > 0 && i + 1 == n {
            output = tied;
        } else {
            Want::Matrix.check(&dense.weight, (output, *width), (weight, i as u16), keys);
        }
        dense.output = output as u32;
        *width = output;
        Want::Vector.check(&dense.bias, (1, output), (bias, i as u16), keys);
    }
}

/// The same for the recurrent layers.
fn bind_layers(table: &mut [Layer], config: &Config, keys: &mut Keys<'_, '_>, width: &mut usize) {
    let layers = Layers::read(keys, config.n_layer);
    let (cell, mut state) = (config.cell, 0);
    for (i, layer) in table.iter_mut().enumerate() {
        let (h, n_ways) = layers.get(i, keys);
        (layer.input, layer.hidden) = (*width as u32, h as u32);
        (layer.n_ways, layer.state) = (n_ways as u32, state);
        let (gates, recurrent) = (cell.n_gates() * h, cell.n_recurrent() * h);
        let candidate = if cell.has_candidate_matrix() { Want::Matrix } else { Want::Nothing };
        for ((place, slot), name) in layer.slots.iter().enumerate().zip(&NAMES).take(n_ways * WAY) {
            let (want, shape) = match place % WAY {
                IH => (Want::Matrix, (gates, *width)),
                HH => (Want::Matrix, (recurrent, h)),
                HN => (candidate, (h, h)),
                INIT => (Want::Vector, (1, cell.n_states() * h)),
                // Biases, behind their matrices.
                1 => (Want::Vector, (1, gates)),
                3 => (Want::Vector, (1, recurrent)),
                _ if candidate == Want::Matrix => (Want::Vector, (1, h)),
                _ => (Want::Nothing, (0, 0)),
            };
            want.check(slot, shape, (name, i as u16), keys);
        }
        *width = layer.output();
        // Too large only where a matrix is missing, which is a failure already.
        state = state.saturating_add((*width * cell.n_states()) as u32);
    }
}

/// What a tensor has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Matrix,
    /// A vector that may be absent.
    Vector,
    /// Absent: it would be of another convention than the metadata states.
    Nothing,
}

impl Want {
    #[inline(never)]
    fn check(
        self,
        slot: &Slot,
        shape: (usize, usize),
        (name, layer): (Word, u16),
        keys: &mut Keys<'_, '_>,
    ) {
        let fits = match self {
            Self::Nothing => false,
            Self::Matrix => true,
            Self::Vector => slot.dtype() == Some(DType::F32),
        };
        keys.fail(match slot.is_some() {
            false if self == Self::Matrix => Error::MissingTensor { name, layer },
            true if !fits || !slot.has_shape(shape.0, shape.1) => Error::BadShape { name, layer },
            _ => return,
        });
    }
}
