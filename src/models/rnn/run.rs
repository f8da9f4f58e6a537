//! The walk through the layers, resumable anywhere.
#![forbid(unsafe_code)]

use super::cells::{self, Functions};
use super::config::{Cell, SOFTMAX, function};
use super::tensors::{Dense, HH, HN, IH, Layer};
use super::{Batch, Config, Input, Rnn, State};
use crate::error::{Checked, Impossible};
use crate::kernels::Isa;
use crate::models::Cursor;
#[cfg(feature = "text")]
use crate::models::pool;
use crate::slices;
use crate::tensor::{self, ActsBuffer, Budget, Slot};

/// One call's view of a batch in progress.
///
/// The cursor's `stage` is one of the below, `layer` a layer of its kind,
/// `part` the direction (and in [`STEPS`] + [`RESET`], that r h is ready), `step`
/// the step, `at` the row to go on with.
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

/// Added to `part` while a GRU that resets before makes its candidate.
const RESET: u32 = 2;

/// The first n numbers.
fn first(all: &mut [f32], n: usize) -> Checked<&mut [f32]> {
    all.get_mut(..n).ok_or(Impossible)
}

/// `n` numbers from `at` on.
fn part(all: &mut [f32], at: usize, n: usize) -> Checked<&mut [f32]> {
    all.get_mut(at..).and_then(|all| all.get_mut(..n)).ok_or(Impossible)
}

impl<'a> Run<'_, 'a> {
    /// Goes on until the batch is done or the budget is spent.
    pub fn run(mut self, s: &mut State<'_>, out: &mut [f32]) -> Checked<bool> {
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
            let _before = self.cursor.stage;
            self.next();
            #[cfg(feature = "text")]
            if _before < AFTER && self.cursor.stage >= AFTER {
                self.pool(s)?;
            }
            if self.cursor.stage == DONE {
                slices::copy(s.kept, s.work);
            }
        }
    }

    /// Moves on to the next stage that has something to do.
    fn next(&mut self) {
        let (cursor, config) = (&mut *self.cursor, &self.model.config);
        (cursor.at, cursor.step) = (0, 0);
        let both =
            self.model.table.layers.get(cursor.layer as usize).is_some_and(|l| l.n_ways == 2);
        let recurrent = cursor.stage == GATES || cursor.stage == STEPS;
        if recurrent && both && cursor.part == 0 {
            cursor.part = 1;
            return;
        }
        cursor.part = 0;
        if cursor.stage == GATES {
            cursor.stage = STEPS;
            return;
        }
        cursor.layer += 1;
        if cursor.stage == STEPS {
            cursor.stage = GATES;
        }
        let wanted = self.batch.from < self.batch.n;
        while cursor.stage < DONE {
            let layers = match cursor.stage {
                INPUT => 0,
                BEFORE => config.n_input_dense,
                GATES => config.n_layer,
                // A model without dense layers gives its last output as it is.
                _ if wanted => config.n_dense.max(1),
                _ => 0,
            };
            if (cursor.layer as usize) < layers {
                return;
            }
            cursor.layer = 0;
            cursor.stage += if cursor.stage == GATES { AFTER - GATES } else { 1 };
        }
    }

    /// y (n, rows) = x (n, cols) W + b
    fn product(
        &mut self,
        acts: &mut ActsBuffer<'_>,
        (w, bias): (Slot, Slot),
        x: (&[f32], usize),
        y: &mut [f32],
    ) -> Checked<bool> {
        let w = (w.matrix(self.model.file)?, bias.vector(self.model.file)?);
        tensor::product(self.isa, acts, w, x, y, &mut self.cursor.at, self.budget)
    }

    /// x = the embeddings of the tokens, or the vectors; or at once g, from the table
    fn input(&mut self, s: &mut State<'_>) -> Checked<bool> {
        let width = self.model.config.n_input.max(1);
        match self.batch.input {
            Input::Ids(_) if self.recall(s, false) => self.cursor.stage = GATES,
            Input::Ids(ids) => {
                let table = self.model.table.token_embd.matrix(self.model.file)?;
                for (x, &id) in s.x.chunks_exact_mut(width).zip(ids) {
                    table.read_row(id as usize, x)?;
                }
            }
            Input::Vectors(v) => slices::copy(s.x, v),
        }
        slices::copy(s.work, s.kept);
        Ok(true)
    }

    /// x = f(x W + b)
    fn before(&mut self, s: &mut State<'_>) -> Checked<bool> {
        let layer = self.model.table.dense.get(self.cursor.layer as usize);
        self.dense(layer.ok_or(Impossible)?, s, (0, self.batch.n), None)
    }

    /// y = f(x W + b) for n vectors in x from `start` on; without a `y` into x again
    fn dense(
        &mut self,
        layer: &Dense,
        s: &mut State<'_>,
        (start, n): (usize, usize),
        out: Option<&mut [f32]>,
    ) -> Checked<bool> {
        let (input, width) = (layer.input as usize, layer.output as usize);
        let tied = self.model.table.token_embd;
        let weight = if layer.weight.is_some() { layer.weight } else { tied };
        let last = out.is_some();
        let x = part(s.x, start, n * input)?;
        let y = first(out.unwrap_or(s.g), n * width)?;
        if !self.product(&mut s.acts, (weight, layer.bias), (x, n), y)? {
            return Ok(false);
        }
        if layer.function != SOFTMAX {
            function(layer.function).apply(y);
        } else if !(last && self.batch.logits) {
            y.chunks_exact_mut(width.max(1)).for_each(|row| tensor::softmax(row, 1.0));
        }
        if !last {
            slices::copy(s.x, y);
        }
        Ok(true)
    }

    /// The layer that the cursor is at, and its direction.
    fn layer(&self) -> Checked<(&'a Layer, usize)> {
        let layer = self.model.table.layers.get(self.cursor.layer as usize);
        Ok((layer.ok_or(Impossible)?, self.cursor.part as usize % 2))
    }

    /// g = x W_ih + b_ih, for all steps at once
    fn gates(&mut self, s: &mut State<'_>) -> Checked<bool> {
        let (layer, way) = self.layer()?;
        let n = self.batch.n;
        let gates = layer.hidden as usize * self.model.config.cell.n_gates();
        let g = part(s.g, way * n * gates, n * gates)?;
        let x = first(s.x, n * layer.input as usize)?;
        let done = self.product(&mut s.acts, layer.pair(way, IH), (x, n), g)?;
        if done {
            self.recall(s, true);
        }
        Ok(done)
    }

    /// Takes the first layer's g for all tokens of the batch from the table, or
    /// keeps it there; false if the table lacks one of them. (Without texts there
    /// is no table, which the compiler is told here.)
    fn recall(&self, s: &mut State<'_>, keep: bool) -> bool {
        let (Input::Ids(ids), Ok((layer, _))) = (self.batch.input, self.layer()) else {
            return false;
        };
        if !cfg!(feature = "text") || s.table.is_empty() || self.cursor.layer > 0 {
            return false;
        }
        let gates = layer.hidden as usize * self.model.config.cell.n_gates();
        for (id, g) in ids.iter().zip(s.g.chunks_exact_mut(gates.max(1))) {
            let row = part(s.table, *id as usize * (1 + gates), 1 + gates);
            let Ok([known, row @ ..]) = row else { return false };
            if keep {
                *known = 1.0;
                slices::copy(row, g);
            } else if *known == 0.0 {
                return false;
            } else {
                slices::copy(g, row);
            }
        }
        true
    }

    /// Step by step: u = h W_hh + b_hh, then the cell, and h to x. The input
    /// in x is not needed any more: all directions have their gates.
    fn steps(&mut self, s: &mut State<'_>) -> Checked<bool> {
        let (layer, way) = self.layer()?;
        let cell = self.model.config.cell;
        let Config { candidate, recurrent, .. } = self.model.config;
        let functions = Functions { candidate, recurrent };
        let (n, hidden) = (self.batch.n, layer.hidden as usize);
        let (gates, kept) = (hidden * cell.n_gates(), hidden * cell.n_states());
        while (self.cursor.step as usize) < n {
            if self.budget.is_spent() {
                return Ok(false);
            }
            let step = self.cursor.step as usize;
            // The second direction goes from the end to the beginning.
            let t = if way == 0 { step } else { n - 1 - step };
            let g = part(s.g, (way * n + t) * gates, gates)?;
            let states = part(s.work, layer.state as usize + way * kept, kept)?;
            let (h, c) = states.split_at_mut_checked(hidden).ok_or(Impossible)?;
            let reset = self.cursor.part >= RESET;
            let (from, x, u) = match reset {
                false => (HH, &*h, &mut *s.u),
                true => (HN, first(s.reset, hidden)? as &_, part(s.u, 2 * hidden, hidden)?),
            };
            if !self.product(&mut s.acts, layer.pair(way, from), (x, 1), u)? {
                return Ok(false);
            }
            self.cursor.at = 0;
            if matches!(cell, Cell::Gru { .. }) && !reset {
                cells::gru_gates(functions, g, s.u, hidden)?;
            }
            if cell.has_candidate_matrix() && !reset {
                cells::gru_reset(g, h, s.reset);
                self.cursor.part += RESET;
                continue;
            }
            match cell {
                Cell::Elman => cells::elman(functions, g, s.u, h),
                Cell::Lstm => cells::lstm(functions, g, s.u, (h, c))?,
                Cell::Gru { reset_after } => cells::gru(functions, reset_after, g, s.u, h)?,
            }
            slices::copy(part(s.x, t * layer.output() + way * hidden, hidden)?, h);
            (self.cursor.step, self.cursor.part) = (step as u32 + 1, way as u32);
        }
        Ok(true)
    }

    /// What comes to the dense layers is what an embedding is made of.
    #[cfg(feature = "text")]
    fn pool(&self, s: &mut State<'_>) -> Checked<()> {
        let Config { n_state, n_hidden, .. } = self.model.config;
        let pool = s.work.get_mut(n_state..).unwrap_or_default();
        pool::add(pool, n_hidden, first(s.x, self.batch.n * n_hidden)?);
        // The last of the backward direction is at the first step: see `meet`.
        let half = self.backward();
        if let Some(last) = pool.get_mut(1 + n_hidden + half..) {
            slices::copy(last, part(s.x, half, half)?);
        }
        Ok(())
    }

    /// out = f(x W + b) behind the last dense layer; behind the others x is that.
    fn after(&mut self, s: &mut State<'_>, out: &mut [f32]) -> Checked<bool> {
        let config = &self.model.config;
        let (n, from, width) = (self.batch.n, self.batch.from, config.n_hidden);
        let k = self.cursor.layer as usize;
        if k == 0 && from + 1 == n {
            self.meet(s.x)?;
        }
        let start = if k == 0 && config.flatten == 0 { from * width } else { 0 };
        // All steps are one row, or each is.
        let rows = if config.flatten > 0 { 1 } else { n - from };
        match self.model.table.dense.get(config.n_input_dense + k) {
            Some(layer) => {
                let out = (k + 1 == config.n_dense).then_some(out);
                self.dense(layer, s, (start, rows), out)
            }
            None => {
                slices::copy(out, part(s.x, start, rows * width)?);
                Ok(true)
            }
        }
    }

    /// Where one output stands for the whole sequence, the backward direction
    /// of the last layer gives what it gave last, which was at the first step.
    fn meet(&self, x: &mut [f32]) -> Checked<()> {
        let (half, width) = (self.backward(), self.model.config.n_hidden);
        if self.model.config.flatten > 0 {
            return Ok(());
        }
        let (earlier, row) =
            x.split_at_mut_checked((self.batch.n - 1) * width).ok_or(Impossible)?;
        // With one step both are the same row.
        if let Some(first) = earlier.get(half..2 * half) {
            slices::copy(part(row, half, half)?, first);
        }
        Ok(())
    }

    /// Numbers of the last layer's backward direction; 0 if it has none.
    fn backward(&self) -> usize {
        let last = self.model.table.layers.last().filter(|layer| layer.n_ways == 2);
        last.map_or(0, |layer| layer.hidden as usize)
    }
}
