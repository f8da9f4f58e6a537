//! A recurrent or plain feed-forward network as its layers stand one behind
//! the other, in the conventions of docs/FORMAT.md: what every such input is
//! read into. `net_write` turns it into keys and tensors.
#![forbid(unsafe_code)]

use super::arrays::Matrix;
use super::source::{SpecialIds, Vocab};
use anyhow::{Result, bail, ensure};

/// Functions by their names in the file.
pub const NONE: &str = "none";
pub const TANH: &str = "tanh";
pub const SIGMOID: &str = "sigmoid";
pub const HARD_SIGMOID: &str = "hard_sigmoid";
pub const HARD_SIGMOID_6: &str = "hard_sigmoid_6";
pub const SOFTMAX: &str = "softmax";
pub const ACTIVATIONS: [&str; 9] =
    [NONE, "relu", TANH, SIGMOID, HARD_SIGMOID, HARD_SIGMOID_6, "gelu_tanh", "gelu_erf", SOFTMAX];

/// What the network reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Token ids, looked up in the first layer, an embedding.
    Tokens,
    /// Vectors of so many numbers.
    Vectors(usize),
}

/// The cell of a recurrent layer and its conventions.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Rnn { activation: &'static str },
    Gru { reset_after: bool, candidate: &'static str, recurrent: &'static str },
    Lstm { candidate: &'static str, recurrent: &'static str },
}

impl Cell {
    /// The architecture's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rnn { .. } => "rnn",
            Self::Gru { .. } => "gru",
            Self::Lstm { .. } => "lstm",
        }
    }

    /// Blocks of rows in the matrices.
    pub fn n_gates(&self) -> usize {
        match self {
            Self::Rnn { .. } => 1,
            Self::Gru { .. } => 3,
            Self::Lstm { .. } => 4,
        }
    }
}

/// The weights of one direction, gates in the file's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Direction {
    /// (G H, in)
    pub ih: Matrix,
    pub ih_bias: Option<Vec<f32>>,
    /// (G H, H), whatever the cell: the writer cuts off a candidate's rows.
    pub hh: Matrix,
    pub hh_bias: Option<Vec<f32>>,
}

/// How the outputs of two directions become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    Concat,
    Sum,
    Mean,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Recurrent {
    pub cell: Cell,
    pub forward: Direction,
    pub backward: Option<Direction>,
    pub merge: Merge,
    /// Whether it gives an output for every step.
    pub sequences: bool,
}

impl Recurrent {
    /// The width of one direction's state.
    pub fn hidden(&self) -> usize {
        self.forward.hh.cols
    }
}

/// A layer's work.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// (n_vocab, width)
    Embedding(Matrix),
    Recurrent(Box<Recurrent>),
    /// (out, in)
    Dense {
        weight: Matrix,
        bias: Option<Vec<f32>>,
        activation: &'static str,
    },
    Activation(&'static str),
    Flatten,
}

/// A layer and what its maker called it.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    pub name: String,
    pub kind: Kind,
}

/// The whole network.
pub struct Net {
    pub input: Input,
    /// Steps of the input if they are fixed; needed to flatten them.
    pub steps: Option<usize>,
    /// Whether the input has steps at all, or is one vector.
    pub sequence: bool,
    pub layers: Vec<Layer>,
    pub vocab: Vocab,
    pub special: SpecialIds,
    pub context: Option<usize>,
    pub notes: Vec<String>,
}

/// The layers in the order of the file's parts, all shapes checked.
pub struct Parts {
    /// What comes in; a Flatten of it makes one vector of all its steps.
    pub input: Input,
    pub embedding: Option<Matrix>,
    pub before: Vec<Dense>,
    pub recurrent: Vec<(String, Recurrent)>,
    pub flatten: Option<usize>,
    pub after: Vec<Dense>,
}

/// A dense layer in its place.
pub struct Dense {
    pub name: String,
    pub weight: Matrix,
    pub bias: Option<Vec<f32>>,
    pub activation: &'static str,
}

/// Where the walk through the layers has come to.
struct Walk {
    parts: Parts,
    /// Numbers in a step.
    width: usize,
    /// Steps, if there is a time axis: known or not.
    steps: Option<Option<usize>>,
    /// Two directions whose sum or mean the next matrix must take: (width of one, scale).
    pending: Option<(usize, f32)>,
}

impl Net {
    /// Puts the layers into the file's order of parts, or says why they cannot be.
    pub fn parts(&self) -> Result<Parts> {
        let parts = Parts {
            input: self.input,
            embedding: None,
            before: Vec::new(),
            recurrent: Vec::new(),
            flatten: None,
            after: Vec::new(),
        };
        let width = match self.input {
            Input::Tokens => 0,
            Input::Vectors(n) => n,
        };
        let steps = self.sequence.then_some(self.steps);
        let mut walk = Walk { parts, width, steps, pending: None };
        for (at, layer) in self.layers.iter().enumerate() {
            let first = at == 0 && self.input == Input::Tokens;
            walk.add(layer, first)
                .map_err(|e| e.context(format!("the layer {} cannot be converted", layer.name)))?;
        }
        ensure!(
            walk.pending.is_none(),
            "the last layer adds up two directions, and only a layer behind it could take that in"
        );
        ensure!(walk.width > 0, "the model has no layers");
        // Without recurrent layers there is no telling before from after, unless steps are joined.
        if walk.parts.recurrent.is_empty() && walk.parts.flatten.is_none() {
            let before = std::mem::take(&mut walk.parts.before);
            walk.parts.after.splice(0..0, before);
        }
        Ok(walk.parts)
    }
}

impl Walk {
    fn add(&mut self, layer: &Layer, first_of_tokens: bool) -> Result<()> {
        match &layer.kind {
            Kind::Embedding(table) => {
                ensure!(first_of_tokens, "an embedding must be the first layer");
                self.width = table.cols;
                self.parts.embedding = Some(table.clone());
            }
            _ if first_of_tokens => bail!("tokens need an embedding first"),
            Kind::Recurrent(r) => self.recurrent(&layer.name, r)?,
            Kind::Dense { weight, bias, activation } => {
                self.dense(&layer.name, weight, bias.as_deref(), activation)?;
            }
            Kind::Activation(activation) => self.activation(&layer.name, activation)?,
            Kind::Flatten => self.flatten()?,
        }
        Ok(())
    }

    fn recurrent(&mut self, name: &str, r: &Recurrent) -> Result<()> {
        ensure!(self.steps.is_some(), "a recurrent layer needs a sequence, and gets one vector");
        let p = &self.parts;
        ensure!(
            p.after.is_empty() && p.flatten.is_none(),
            "between two recurrent layers there may be no dense layer and no Flatten"
        );
        if let Some((other, last)) = p.recurrent.last() {
            ensure!(
                last.cell == r.cell,
                "all recurrent layers of a model must be of one kind and have the same settings, and {other} has {:?} where this has {:?}",
                last.cell,
                r.cell
            );
        }
        let mut r = r.clone();
        r.forward.check(&r.cell, self.width_in())?;
        if let Some(backward) = &r.backward {
            backward.check(&r.cell, self.width_in())?;
            ensure!(
                backward.hh.cols == r.hidden(),
                "its two directions have {} and {} units",
                r.hidden(),
                backward.hh.cols
            );
        }
        if let Some((piece, scale)) = self.pending.take() {
            for d in [Some(&mut r.forward), r.backward.as_mut()].into_iter().flatten() {
                d.ih = d.ih.split_sum(piece, scale);
            }
        }
        let hidden = r.hidden();
        self.width = if r.backward.is_some() { 2 * hidden } else { hidden };
        if r.backward.is_some() && r.merge != Merge::Concat {
            self.pending = Some((hidden, if r.merge == Merge::Mean { 0.5 } else { 1.0 }));
        }
        if !r.sequences {
            self.steps = None;
        }
        self.parts.recurrent.push((name.into(), r));
        Ok(())
    }

    /// The width that the next layer was made for.
    fn width_in(&self) -> usize {
        if self.pending.is_some() { self.width / 2 } else { self.width }
    }

    fn dense(
        &mut self,
        name: &str,
        weight: &Matrix,
        bias: Option<&[f32]>,
        activation: &'static str,
    ) -> Result<()> {
        let width_in = self.width_in();
        ensure!(
            weight.cols == width_in,
            "its matrix takes {} numbers, and {width_in} come in",
            weight.cols
        );
        check_bias(bias, weight.rows)?;
        let weight = match self.pending.take() {
            Some((piece, scale)) => weight.split_sum(piece, scale),
            None => weight.clone(),
        };
        self.width = weight.rows;
        let bias = bias.map(<[f32]>::to_vec);
        let dense = Dense { name: name.into(), weight, bias, activation };
        self.push(dense);
        Ok(())
    }

    fn push(&mut self, dense: Dense) {
        let early = self.parts.recurrent.is_empty() && self.parts.flatten.is_none();
        let place = if early { &mut self.parts.before } else { &mut self.parts.after };
        place.push(dense);
    }

    /// A function joins the dense layer before it if that has none; else it gets
    /// a matrix of its own that changes nothing.
    fn activation(&mut self, name: &str, activation: &'static str) -> Result<()> {
        ensure!(
            self.pending.is_none(),
            "a function of the sum of two directions has no place in the file"
        );
        if activation == NONE {
            return Ok(());
        }
        let p = &mut self.parts;
        let early = p.recurrent.is_empty() && p.flatten.is_none();
        let last = if early { p.before.last_mut() } else { p.after.last_mut() };
        match last {
            Some(dense) if dense.activation == NONE => dense.activation = activation,
            _ => {
                let weight = Matrix::identity(self.width);
                self.push(Dense { name: name.into(), weight, bias: None, activation });
            }
        }
        Ok(())
    }

    fn flatten(&mut self) -> Result<()> {
        let Some(steps) = self.steps.take() else { return Ok(()) };
        let Some(steps) = steps else {
            bail!("it needs to know how many steps come in, and the model leaves that open")
        };
        let p = &mut self.parts;
        let untouched = p.embedding.is_none() && p.before.is_empty() && p.recurrent.is_empty();
        if untouched {
            // The caller's numbers are one vector already.
            self.width *= steps;
            p.input = Input::Vectors(self.width);
            return Ok(());
        }
        ensure!(p.flatten.is_none(), "the steps are joined already");
        p.flatten = Some(steps);
        self.width *= steps;
        Ok(())
    }
}

impl Direction {
    fn check(&self, cell: &Cell, width_in: usize) -> Result<()> {
        let (gates, hidden) = (cell.n_gates(), self.hh.cols);
        ensure!(hidden > 0, "it has no units");
        ensure!(
            self.hh.rows == gates * hidden && self.ih.rows == gates * hidden,
            "its matrices have {} and {} rows where {gates} gates of {hidden} units ask for {}",
            self.ih.rows,
            self.hh.rows,
            gates * hidden
        );
        ensure!(
            self.ih.cols == width_in,
            "its matrix takes {} numbers, and {width_in} come in",
            self.ih.cols
        );
        check_bias(self.ih_bias.as_deref(), self.ih.rows)?;
        check_bias(self.hh_bias.as_deref(), self.hh.rows)
    }
}

fn check_bias(bias: Option<&[f32]>, rows: usize) -> Result<()> {
    if let Some(bias) = bias {
        ensure!(bias.len() == rows, "it has {} biases for {rows} outputs", bias.len());
    }
    Ok(())
}

/// The function of this name, in the file's words.
pub fn activation(name: &str) -> Result<&'static str> {
    let known = ACTIVATIONS.into_iter().find(|a| *a == name);
    match known {
        Some(name) => Ok(name),
        None => bail!(
            "the activation {name} is not supported; supported are {}",
            ACTIVATIONS.join(", ")
        ),
    }
}
