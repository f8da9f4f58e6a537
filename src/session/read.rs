//! What a session can be asked: its last token, logits and probabilities, and
//! where it stands.
#![forbid(unsafe_code)]

use super::{Session, SessionInfo};
use crate::error::{Error, Result};
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
