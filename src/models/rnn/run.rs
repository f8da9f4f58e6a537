//! The walk through the layers, resumable anywhere.
#![forbid(unsafe_code)]

use super::cells::{self, Functions};
use super::config::{Cell, Function};
use super::tensors::{Dense, HH, HN, IH, Layer};
use super::{Batch, Input, Rnn, State};
use crate::error::{Error, Result};
use crate::kernels::Isa;
use crate::models::Cursor;
use crate::slices;
use crate::tensor::{self, Budget};

/// One call's view of a batch in progress.
///
/// The cursor's `stage` is one of the below, `layer` a layer of its kind,
/// `part` the direction, `step` the step, `at` the row to go on with.
pub(super) struct Run<'r, 'a> {
    pub isa: Isa,
    pub model: &'r Rnn<'a>,
    pub batch: Batch<'r>,
    pub cursor: &'r mut Cursor,
    pub budget: &'r mut Budget,
}

/// The input to `x`, and the state to work on.
const INPUT: u32 = 0;
/// The dense layers before the recurrent ones.
const BEFORE: u32 = 1;
/// A recurrent layer's products with its input, direction by direction.
const GATES: u32 = 2;
/// Its steps, direction by direction.
const STEPS: u32 = 3;
/// The dense layers behind the recurrent ones.
const AFTER: u32 = 4;
/// Nothing is left but to keep the state.
const DONE: u32 = 5;

/// The first n numbers.
fn first(all: &mut [f32], n: usize) -> Result<&mut [f32]> {
    all.get_mut(..n).ok_or(Error::Internal)
}

/// `n` numbers from `at` on.
fn part(all: &mut [f32], at: usize, n: usize) -> Result<&mut [f32]> {
    all.get_mut(at..).and_then(|all| all.get_mut(..n)).ok_or(Error::Internal)
}

impl<'a> Run<'_, 'a> {
    /// Goes on until the batch is done or the budget is spent.
    pub fn run(mut self, s: &mut State<'_>, out: &mut [f32]) -> Result<bool> {
        loop {
            let done = match self.cursor.stage {
                DONE => return Ok(true),
                _ if self.budget.is_spent() => return Ok(false),
                INPUT => self.input(s),
                BEFORE => self.before(s),
                GATES => self.gates(s),
                STEPS => self.steps(s),
                _ => self.after(s, out),
            }?;
            if !done {
                return Ok(false);
            }
            self.next();
            if self.cursor.stage == DONE {
                slices::copy(s.kept, s.work);
            }
        }
    }

    /// Moves on to the next stage that has something to do.
    fn next(&mut self) {
        let cursor = &mut *self.cursor;
        (cursor.at, cursor.step) = (0, 0);
        let config = &self.model.config;
        let ways = self.model.table.layers.get(cursor.layer as usize).map_or(1, |l| l.n_ways);
        let n_parts = |stage| if matches!(stage, GATES | STEPS) { ways } else { 1 };
        if cursor.part + 1 < n_parts(cursor.stage) {
            cursor.part += 1;
            return;
        }
        cursor.part = 0;
        if cursor.stage == GATES {
            cursor.stage = STEPS;
            return;
        }
        let layers = |stage| match stage {
            BEFORE => config.n_input_dense,
            GATES | STEPS => config.n_layer,
            _ if self.batch.from >= self.batch.n => 0,
            // A model without dense layers gives its last output as it is.
            AFTER => config.n_dense.max(1),
            _ => 0,
        };
        cursor.layer += 1;
        if cursor.stage == STEPS && (cursor.layer as usize) < config.n_layer {
            cursor.stage = GATES;
        }
        while (cursor.layer as usize) >= layers(cursor.stage) && cursor.stage != DONE {
            cursor.layer = 0;
            cursor.stage = if cursor.stage == GATES { AFTER } else { cursor.stage + 1 };
        }
    }

    fn layer(&self) -> Result<&'a Layer> {
        self.model.table.layers.get(self.cursor.layer as usize).ok_or(Error::Internal)
    }

    fn functions(&self) -> Functions {
        let config = &self.model.config;
        Functions { candidate: config.candidate, recurrent: config.recurrent }
    }

    /// x = the embeddings of the tokens, or the vectors
    fn input(&mut self, s: &mut State<'_>) -> Result<bool> {
        let width = self.model.config.n_input;
        let x = first(s.x, self.batch.n * width)?;
        match self.batch.input {
            Input::Ids(ids) => {
                let table = self.model.table.token_embd.matrix(self.model.file)?;
                for (x, &id) in x.chunks_exact_mut(width).zip(ids) {
                    table.read_row(id as usize, x)?;
                }
            }
            Input::Vectors(v) => slices::copy(x, v.get(..x.len()).ok_or(Error::Internal)?),
        }
        slices::copy(s.work, s.kept);
        Ok(true)
    }

    /// x = f(x W + b)
    fn before(&mut self, s: &mut State<'_>) -> Result<bool> {
        let layer = self.model.table.dense.get(self.cursor.layer as usize);
        let layer = layer.ok_or(Error::Internal)?;
        let (n, width) = (self.batch.n, layer.output as usize);
        if !self.dense(layer, (&mut *s.x, n), &mut s.acts, s.g)? {
            return Ok(false);
        }
        let g = first(s.g, n * width)?;
        self.apply(layer, g, false);
        slices::copy(first(s.x, n * width)?, g);
        Ok(true)
    }

    /// y (n, output) = x (n, input) W + b
    fn dense(
        &mut self,
        layer: &Dense,
        (x, n): (&mut [f32], usize),
        acts: &mut tensor::ActsBuffer<'_>,
        y: &mut [f32],
    ) -> Result<bool> {
        let (w, bias) = layer.affine(self.model.file, &self.model.table.token_embd)?;
        let x = first(x, n * layer.input as usize)?;
        if self.cursor.at == 0 {
            acts.prepare(&w, x)?;
        }
        tensor::linear(self.isa, (&w, bias), (acts.acts(x), n), y, &mut self.cursor.at, self.budget)
    }

    fn apply(&self, layer: &Dense, y: &mut [f32], logits: bool) {
        match Function::at(layer.function) {
            Function::Each(activation) => activation.apply(y),
            Function::Softmax if logits => {}
            Function::Softmax => {
                let rows = y.chunks_exact_mut((layer.output as usize).max(1));
                rows.for_each(|row| tensor::softmax(row, 1.0));
            }
        }
    }

    /// g = x W_ih + b_ih, for all steps at once
    fn gates(&mut self, s: &mut State<'_>) -> Result<bool> {
        let layer = self.layer()?;
        let (n, way) = (self.batch.n, self.cursor.part as usize);
        let (w, bias) = layer.affine(self.model.file, way, IH)?;
        let x = first(s.x, n * layer.input as usize)?;
        if self.cursor.at == 0 {
            s.acts.prepare(&w, x)?;
        }
        let size = n * layer.hidden as usize * self.model.config.cell.n_gates();
        let g = part(s.g, way * size, size)?;
        let x = (s.acts.acts(x), n);
        tensor::linear(self.isa, (&w, bias), x, g, &mut self.cursor.at, self.budget)
    }

    /// Step by step: u = h W_hh + b_hh, then the cell, and h to x. The input
    /// in x is not needed any more: all directions have their gates.
    fn steps(&mut self, s: &mut State<'_>) -> Result<bool> {
        let layer = self.layer()?;
        let cell = self.model.config.cell;
        let (hidden, way) = (layer.hidden as usize, self.cursor.part as usize);
        let (n, gates) = (self.batch.n, hidden * cell.n_gates());
        let state = layer.state as usize + way * hidden * cell.n_states();
        while (self.cursor.step as usize) < n {
            let step = self.cursor.step as usize;
            // The second direction goes from the end to the beginning.
            let t = if way == 0 { step } else { n - 1 - step };
            let g = part(s.g, way * n * gates + t * gates, gates)?;
            let states = part(s.work, state, hidden * cell.n_states())?;
            let (h, c) = states.split_at_mut_checked(hidden).ok_or(Error::Internal)?;
            if !self.recurrent(layer, g, (&*h, s.u, s.reset), &mut s.acts)? {
                return Ok(false);
            }
            let functions = self.functions();
            match cell {
                Cell::Elman => cells::elman(functions, g, s.u, h),
                Cell::Lstm => cells::lstm(functions, g, s.u, (h, c))?,
                Cell::Gru { reset_after } => {
                    if reset_after {
                        cells::gru_gates(functions, g, s.u, hidden)?;
                    }
                    cells::gru(functions, reset_after, g, s.u, h)?;
                }
            }
            slices::copy(part(s.x, t * layer.output() + way * hidden, hidden)?, h);
            (self.cursor.step, self.cursor.at) = (step as u32 + 1, 0);
            if self.budget.is_spent() && step + 1 < n {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// u = h W_hh + b_hh; a GRU that resets before also needs r for its last part.
    fn recurrent(
        &mut self,
        layer: &Layer,
        g: &mut [f32],
        (h, u, reset): (&[f32], &mut [f32], &mut [f32]),
        acts: &mut tensor::ActsBuffer<'_>,
    ) -> Result<bool> {
        let (file, way, cell) =
            (self.model.file, self.cursor.part as usize, self.model.config.cell);
        let (w, bias) = layer.affine(file, way, HH)?;
        let rows = (h.len() * cell.n_recurrent()) as u32;
        if self.cursor.at < rows {
            if self.cursor.at == 0 {
                acts.prepare(&w, h)?;
            }
            let x = (acts.acts(h), 1);
            let at = &mut self.cursor.at;
            if !tensor::linear(self.isa, (&w, bias), x, u, at, self.budget)? {
                return Ok(false);
            }
        }
        if !cell.has_candidate_matrix() {
            return Ok(true);
        }
        // What follows is done once: from here `linear` gets on by at least a row.
        if self.budget.is_spent() {
            return Ok(false);
        }
        let (w, bias) = layer.affine(file, way, HN)?;
        let reset = first(reset, h.len())?;
        if self.cursor.at == rows {
            cells::gru_gates(self.functions(), g, u, h.len())?;
            cells::gru_reset(g, h, reset);
            acts.prepare(&w, reset)?;
        }
        let u = u.get_mut(rows as usize..).ok_or(Error::Internal)?;
        let mut at = self.cursor.at - rows;
        let x = (acts.acts(reset), 1);
        let done = tensor::linear(self.isa, (&w, bias), x, u, &mut at, self.budget)?;
        self.cursor.at = rows + at;
        Ok(done)
    }

    /// out = f(x W + b) behind the last dense layer; behind the others x is that.
    fn after(&mut self, s: &mut State<'_>, out: &mut [f32]) -> Result<bool> {
        let config = &self.model.config;
        let (n, from, width) = (self.batch.n, self.batch.from, config.n_hidden);
        let k = self.cursor.layer as usize;
        if k == 0 && from + 1 == n {
            self.meet(s)?;
        }
        let (rows, start) = match (config.flatten, k) {
            (0, 0) => (n - from, from * width),
            (0, _) => (n - from, 0),
            // All steps are one row.
            _ => (1, 0),
        };
        let x = s.x.get_mut(start..).ok_or(Error::Internal)?;
        let Some(layer) = self.model.table.dense.get(config.n_input_dense + k) else {
            let size = rows * width;
            slices::copy(first(out, size)?, first(x, size)?);
            return Ok(true);
        };
        let (size, last) = (rows * layer.output as usize, k + 1 == config.n_dense);
        let y = first(if last { out } else { &mut *s.g }, size)?;
        if !self.dense(layer, (x, rows), &mut s.acts, y)? {
            return Ok(false);
        }
        self.apply(layer, y, self.batch.logits && last);
        if !last {
            slices::copy(first(s.x, size)?, y);
        }
        Ok(true)
    }

    /// Where one output stands for the whole sequence, the backward direction
    /// of the last layer gives what it gave last, which was at the first step.
    fn meet(&self, s: &mut State<'_>) -> Result<()> {
        let config = &self.model.config;
        let last = self.model.table.layers.last().filter(|layer| layer.n_ways == 2);
        let Some(layer) = last.filter(|_| config.flatten == 0) else { return Ok(()) };
        let (hidden, width) = (layer.hidden as usize, layer.output());
        let (earlier, row) =
            s.x.split_at_mut_checked((self.batch.n - 1) * width).ok_or(Error::Internal)?;
        // With one step both are the same row.
        if let Some(first) = earlier.get(hidden..width) {
            slices::copy(part(row, hidden, hidden)?, first);
        }
        Ok(())
    }
}
