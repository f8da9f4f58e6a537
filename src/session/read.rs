//! What a session can be asked: its last token, logits and probabilities, and
//! where it stands.
#![forbid(unsafe_code)]

use super::{Session, SessionInfo};
use crate::error::{Error, Result};
use crate::models::{NOT_KEPT, Pooling, State};
use crate::sample;

impl Session<'_> {
    /// The last token chosen or accepted.
    #[must_use]
    pub fn token(&self) -> Option<u32> {
        self.head.token.checked_sub(1)
    }

    /// The logits of the last token worked through, before the sampler's changes.
    ///
    /// # Errors
    /// [`Error::NoLogits`] while there are none.
    pub fn logits(&self) -> Result<&[f32]> {
        self.logits_row(self.n_logits_rows().checked_sub(1).ok_or(Error::NoLogits)?)
    }

    /// Rows of logits there are: 1, or with `all_logits` one for each token of the last batch.
    #[must_use]
    pub fn n_logits_rows(&self) -> usize {
        self.head.logits_rows as usize
    }

    /// A row of logits.
    ///
    /// # Errors
    /// [`Error::NoLogits`] if there is no such row.
    pub fn logits_row(&self, row: usize) -> Result<&[f32]> {
        let n_vocab = self.sizes.n_vocab;
        if row >= self.n_logits_rows() {
            return Err(Error::NoLogits);
        }
        self.logits.get(row * n_vocab..(row + 1) * n_vocab).ok_or(Error::NoLogits)
    }

    /// The likeliest next tokens before the sampler's changes, best first, and
    /// the natural logarithms of their probabilities. Returns how many there are.
    ///
    /// # Errors
    /// [`Error::NoLogits`], [`Error::Overflow`].
    pub fn top_logprobs(&self, ids: &mut [u32], logprobs: &mut [f32]) -> Result<usize> {
        sample::top_logprobs(self.logits()?, ids, logprobs)
    }

    /// One vector for all that was worked through since the beginning (or the
    /// context's, after it slid): of the last layer's outputs, of a GPT-2 behind
    /// the last norm. It goes on as more is worked through.
    ///
    /// # Errors
    /// [`Error::Unsupported`] unless [`crate::SessionParams::embedding`] asked
    /// for it, [`Error::NoLogits`] while there is none.
    pub fn embedding(&self, pooling: Pooling) -> Result<&[f32]> {
        self.model.embedding(&self.state, pooling)
    }

    /// How much each position counted for the last token worked through, in a
    /// head of a layer: numbers that add up to 1.
    ///
    /// # Errors
    /// [`Error::Unsupported`] unless [`crate::SessionParams::attention`] asked
    /// for it, and for a recurrent network; [`Error::BadParam`] if there is no
    /// such head; [`Error::NoLogits`] while there are none: at the beginning,
    /// while a batch is worked on, and behind a restored snapshot.
    pub fn attention(&self, layer: usize, head: usize) -> Result<&[f32]> {
        let weights = match &self.state {
            #[cfg(feature = "gpt2")]
            State::Gpt2(state) => &*state.weights,
            #[cfg(feature = "rnn")]
            State::Rnn(_) => &[],
        };
        let info = self.model.info();
        let (n_head, n_pos) = (info.n_head as usize, self.n_attended as usize);
        if weights.is_empty() {
            return Err(NOT_KEPT);
        }
        if layer >= info.n_layer as usize || head >= n_head {
            return Err(Error::BadParam { name: &"head" });
        }
        let all = weights.get((layer * n_head + head) * self.sizes.n_ctx..);
        all.and_then(|all| all.get(..n_pos)).filter(|_| n_pos > 0).ok_or(Error::NoLogits)
    }

    /// Where the session stands.
    #[must_use]
    pub fn info(&self) -> SessionInfo {
        let per_token = self.model.info().work_per_token;
        SessionInfo {
            n_ctx: self.sizes.n_ctx as u32,
            n_past: if self.model.has_positions() {
                self.head.n_past
            } else {
                u32::try_from(self.head.n_evaluated).unwrap_or(u32::MAX)
            },
            n_queued: self.head.n_queued,
            n_generated: self.head.n_generated,
            finish: self.finished(),
            work_left: u64::from(self.head.n_queued) * per_token,
            work_done: self.head.n_evaluated * per_token,
        }
    }
}
