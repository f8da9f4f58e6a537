//! Recurrent networks: Elman, GRU and LSTM, between dense layers.
//!
//! Elman, "Finding Structure in Time" (1990); Hochreiter and Schmidhuber, "Long
//! Short-Term Memory" (1997); Cho et al., <https://arxiv.org/abs/1406.1078>.
//! Which of the conventions in use a file follows is in its metadata
//! (docs/FORMAT.md); nothing is guessed.
//!
//! One call runs a batch of n steps layer by layer. The products with a layer's
//! input are one matrix product over all steps; only the product with the state
//! goes step by step. Results do not depend on how steps are batched. A
//! [`Cursor`] remembers how far a batch has come, so that the work can be
//! stopped and taken up again anywhere. A batch changes the state only when it
//! is done: until then it can be begun anew.
//!
//! The first layer's product with a token's embedding depends on nothing but the
//! token. Where there are few tokens (characters), a session keeps each product
//! once it was made, which spares a step a quarter to a half of its weights.
#![forbid(unsafe_code)]

mod cells;
mod config;
mod run;
mod tensors;

pub use config::{Cell, Config};

use super::{Cursor, Keys};
use crate::arena::Reserve;
use crate::error::{Checked, Impossible, Result};
use crate::gguf::Gguf;
use crate::kernels::Isa;
use crate::slices;
use crate::tensor::{ActsBuffer, Budget, Slot};
use tensors::{Dense, Draft, Layer, Table};

/// A recurrent network bound to its file.
#[derive(Clone, Copy)]
pub struct Rnn<'a> {
    config: Config,
    file: &'a [u8],
    table: Table<'a>,
}

impl<'a> Rnn<'a> {
    /// Lays out the table of tensors and, once carved, binds them by name.
    /// `cell` is the architecture's place among `rnn`, `gru`, `lstm`.
    ///
    /// # Errors
    /// What the file lacks, or what in it does not fit.
    pub fn lay(r: &mut Reserve<'a>, gguf: &Gguf<'a>, cell: usize) -> Result<Self> {
        let prefix = ["rnn.", "gru.", "lstm."].get(cell).copied().unwrap_or_default();
        let mut keys = Keys::new(gguf, prefix);
        let config = Config::read(gguf, &mut keys, cell)?;
        let layers: &mut [Layer] = r.take(config.n_layer);
        let dense: &mut [Dense] = r.take(config.n_input_dense + config.n_dense);
        let mut draft = Draft { layers, dense, token_embd: Slot::default() };
        if r.carved()? {
            draft.bind(&config, gguf, &mut keys)?;
        }
        Ok(Self { config, file: gguf.file(), table: draft.done() })
    }

    /// The sizes.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Multiplications for one step, of all weights that a file has: each once, but
    /// for those of an embedding that is only looked up.
    #[must_use]
    pub fn work_per_step(&self, n_params: usize) -> u64 {
        let looked_up =
            if self.config.tied { 0 } else { self.config.n_vocab * self.config.n_input };
        n_params.saturating_sub(looked_up) as u64
    }

    /// Puts the state that sequences begin with in place of `state`'s.
    pub fn reset(&self, state: &mut State<'_>) {
        state.kept.fill(0.0);
        for layer in self.table.layers {
            let n = layer.hidden as usize * self.config.cell.n_states();
            for way in 0..layer.n_ways as usize {
                let at = layer.state as usize + way * n;
                let kept = state.kept.get_mut(at..).unwrap_or_default();
                slices::copy(kept, layer.init(self.file, way));
            }
        }
    }

    /// Runs a batch from `cursor` on until it is done or the budget is spent;
    /// returns whether it is done. `out` takes a row for each step from
    /// `batch.from` on, or one row if the dense layers take all steps together.
    ///
    /// # Errors
    /// [`Impossible`] if the sizes do not agree.
    pub fn forward(
        &self,
        isa: Isa,
        state: &mut State<'_>,
        batch: Batch<'_>,
        (cursor, budget): (&mut Cursor, &mut Budget),
        out: &mut [f32],
    ) -> Checked<bool> {
        run::Run { isa, model: self, batch, cursor, budget }.run(state, out)
    }
}

/// What goes in: a token or a vector per step.
#[derive(Clone, Copy)]
pub enum Input<'b> {
    /// Tokens.
    Ids(&'b [u32]),
    /// Vectors of `n_input` numbers, one after the other.
    Vectors(&'b [f32]),
}

impl Input<'_> {
    /// `n` steps from `at` on, of `n_input` numbers each.
    pub(crate) fn part(&self, at: usize, n: usize, n_input: usize) -> Checked<Self> {
        let part = match self {
            Self::Ids(ids) => ids.get(at..at + n).map(Self::Ids),
            Self::Vectors(v) => v.get(at * n_input..(at + n) * n_input).map(Self::Vectors),
        };
        part.ok_or(Impossible)
    }
}

/// Steps to run.
#[derive(Clone, Copy)]
pub struct Batch<'b> {
    /// The input of each.
    pub input: Input<'b>,
    /// How many there are.
    pub n: usize,
    /// Outputs are wanted from this one on; `n` for none.
    pub from: usize,
    /// Whether to leave out a softmax at the end: what it is made of are logits.
    pub logits: bool,
}

/// What a sequence keeps between calls, and the room to compute in.
pub struct State<'a> {
    /// The state behind the last batch that was done, (n_state): layer by
    /// layer, the directions of each, of each the output, then (LSTM) the cell.
    /// Behind them what an embedding is made of, if one is kept.
    pub kept: &'a mut [f32],
    /// The state in the batch in progress.
    work: &'a mut [f32],
    /// A layer's input, then its output, (n_batch, widest).
    x: &'a mut [f32],
    /// The input's product with a layer's gates, (directions, n_batch, gates).
    g: &'a mut [f32],
    /// The state's product, (gates).
    u: &'a mut [f32],
    /// r h, of a GRU that resets before.
    reset: &'a mut [f32],
    /// The first layer's product with each token that came before, (n_vocab,
    /// 1 + gates): a number that is not 0 if it did, then the product. Empty if
    /// none is kept.
    table: &'a mut [f32],
    acts: ActsBuffer<'a>,
}

impl<'a> State<'a> {
    /// Lays it out for batches of `n_batch` steps, `n_pool` numbers for an embedding
    /// and `n_table` for the table of products ([`Config::n_table`] or none). The
    /// memory must be zeros: anything else in the table counts as a product.
    pub fn lay(
        r: &mut Reserve<'a>,
        config: &Config,
        n_batch: usize,
        (n_pool, n_table): (usize, usize),
    ) -> Self {
        let n_kept = config.n_state.saturating_add(n_pool);
        let widest = config.widest.saturating_mul(n_batch);
        let gates = config.widest_gates.saturating_mul(n_batch).max(widest);
        let resets = config.cell.has_candidate_matrix();
        Self {
            kept: r.take(n_kept),
            work: r.take(n_kept),
            x: r.take(widest),
            g: r.take(gates),
            u: r.take(config.widest_gates),
            reset: r.take(if resets { config.widest } else { 0 }),
            table: r.take(n_table),
            acts: ActsBuffer::lay(r, widest),
        }
    }
}
