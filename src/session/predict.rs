//! A model as a function: vectors or tokens in, outputs out, with a state that
//! goes on from call to call, or does not, and that can be read and set.
#![forbid(unsafe_code)]

use super::Session;
#[cfg(not(feature = "text"))]
use super::SessionParams;
#[cfg(not(feature = "text"))]
use crate::arena::Reserve;
use crate::error::{Error, Result};
use crate::models::rnn::{Batch, Input, Rnn};
use crate::models::{Cursor, State, Whole, rnn};
#[cfg(not(feature = "text"))]
use crate::models::{Keep, Model};
use crate::slices;
use crate::tensor::Budget;

/// How [`Session::predict`] runs. The default: from the beginning, and give the
/// outputs of the last step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Predict {
    /// Go on from the state that the last call left, or that was written.
    pub stateful: bool,
    /// Give the outputs of every step.
    pub every_step: bool,
}

/// Whether all numbers are finite.
#[inline(never)]
fn finite(numbers: &[f32]) -> bool {
    numbers.iter().all(|v| v.is_finite())
}

impl<'m> Session<'m> {
    fn rnn(&self) -> Result<&'m Rnn<'m>> {
        let what = &"predict with a transformer; feed its tokens";
        self.model.as_rnn().ok_or(Error::unsupported(what))
    }

    fn rnn_state(&mut self) -> Result<&mut rnn::State<'m>> {
        match &mut self.state {
            State::Rnn(state) => Ok(state),
            #[cfg(feature = "gpt2")]
            State::Gpt2(_) => Err(Error::Internal),
        }
    }

    /// Numbers that [`Session::predict`] writes for so many steps.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a transformer, [`Error::TooLarge`].
    pub fn predict_len(&self, n_steps: usize, every_step: bool) -> Result<usize> {
        let config = self.rnn()?.config();
        let rows = if every_step && config.flatten == 0 { n_steps } else { 1 };
        rows.checked_mul(config.n_output).ok_or(Error::TooLarge)
    }

    /// Runs the model over a sequence of vectors, one after the other in
    /// `input`; returns how many numbers of `out` were written. One vector is a
    /// sequence of one step. A sequence in one call or in several stateful ones
    /// gives the same bits.
    ///
    /// After a call that is not stateful the state is that behind its input, as
    /// if [`Session::reset`] had gone before.
    ///
    /// # Errors
    /// [`Error::BadInput`] if the length does not fit the model,
    /// [`Error::BufferTooSmall`], [`Error::Overflow`], and
    /// [`Error::Unsupported`] for a transformer, a model of tokens, or a
    /// stateful call of a bidirectional model.
    pub fn predict(&mut self, input: &[f32], how: Predict, out: &mut [f32]) -> Result<usize> {
        let config = self.rnn()?.config();
        if config.n_vocab > 0 {
            let what = &"vectors for a model of tokens; use predict_ids";
            return Err(Error::unsupported(what));
        }
        let (len, width) = (input.len(), config.n_input.max(1));
        if !len.is_multiple_of(width) {
            return Err(Error::BadInput { need: width });
        }
        self.predict_steps(Input::Vectors(input), len / width, how, out)
    }

    /// As [`Session::predict`], for a model that takes tokens.
    ///
    /// # Errors
    /// The same, and [`Error::BadToken`].
    pub fn predict_ids(&mut self, ids: &[u32], how: Predict, out: &mut [f32]) -> Result<usize> {
        self.rnn()?;
        ids.iter().try_for_each(|&id| self.model.check_id(id))?;
        self.predict_steps(Input::Ids(ids), ids.len(), how, out)
    }

    fn predict_steps(
        &mut self,
        input: Input<'_>,
        n: usize,
        how: Predict,
        out: &mut [f32],
    ) -> Result<usize> {
        let net = self.rnn()?;
        self.check_steps(n, how)?;
        let need = self.predict_len(n, how.every_step)?;
        let too_small = Error::BufferTooSmall { need };
        let out = out.get_mut(..need).ok_or(too_small)?;
        self.forget_batch();
        let (isa, most) = (self.model.isa(), self.n_batch());
        let state = self.rnn_state()?;
        if !how.stateful {
            net.reset(state);
        }
        let (mut at, mut written) = (0, 0);
        while at < n {
            let steps = (n - at).min(most);
            let from = match how.every_step {
                true => 0,
                false if at + steps == n => steps - 1,
                false => steps,
            };
            let batch = Batch {
                input: input.part(at, steps, net.config().n_input)?,
                n: steps,
                from,
                logits: false,
            };
            let out = out.get_mut(written..).ok_or(Error::Internal)?;
            let progress = (&mut Cursor::default(), &mut Budget::new(0));
            net.forward(isa, state, batch, progress, out)?;
            at += steps;
            written += (steps - from) * net.config().n_output;
        }
        self.count(n);
        if finite(out) && finite(self.read_state()?) { Ok(need) } else { Err(Error::Overflow) }
    }

    fn check_steps(&self, n: usize, how: Predict) -> Result<()> {
        let bad = |need| Err(Error::BadInput { need });
        if how.stateful && self.rnn()?.config().bidirectional {
            let what = &"a stateful call of a bidirectional model: it needs its whole input";
            return Err(Error::unsupported(what));
        }
        match self.model.whole_input() {
            Whole::Exactly(steps) if n != steps => bad(steps),
            Whole::AtMost(_) if n > self.n_batch() => bad(self.n_batch()),
            _ if n == 0 => bad(1),
            _ => Ok(()),
        }
    }

    /// Numbers of the state: layer by layer, of each the forward, then the
    /// backward direction, of each h, then (LSTM) c.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a transformer.
    pub fn state_len(&self) -> Result<usize> {
        Ok(self.rnn()?.config().n_state)
    }

    /// The state that all done so far has left.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a transformer.
    pub fn read_state(&self) -> Result<&[f32]> {
        self.rnn()?;
        match &self.state {
            State::Rnn(state) => Ok(state.kept.get(..self.state_len()?).unwrap_or_default()),
            #[cfg(feature = "gpt2")]
            State::Gpt2(_) => Err(Error::Internal),
        }
    }

    /// Sets the state to go on from, as [`Session::read_state`] gives it: of
    /// this model, or of another one with layers of the same sizes, as an
    /// encoder's for its decoder. Queued tokens stay.
    ///
    /// # Errors
    /// [`Error::BadInput`] if the length is another, [`Error::BadParam`] for
    /// what is not finite, [`Error::Unsupported`] for a transformer; nothing
    /// has changed then.
    pub fn write_state(&mut self, state: &[f32]) -> Result<()> {
        let need = self.state_len()?;
        if state.len() != need {
            return Err(Error::BadInput { need });
        }
        if !finite(state) {
            return Err(Error::BadParam { name: &"state" });
        }
        self.forget_batch();
        slices::copy(self.rnn_state()?.kept, state);
        Ok(())
    }
}

/// What a session for texts has besides.
#[cfg(feature = "text")]
impl Session<'_> {
    fn n_batch(&self) -> usize {
        self.sizes.n_batch
    }

    /// A batch of fed tokens begins anew, and logits were of another state.
    fn forget_batch(&mut self) {
        (self.head.batch, self.head.logits_rows) = (0, 0);
    }

    fn count(&mut self, n: usize) {
        self.head.n_evaluated += n as u64;
    }
}

#[cfg(not(feature = "text"))]
impl<'m> Session<'m> {
    /// The one layout of a session's memory.
    pub(super) fn lay(
        r: &mut Reserve<'m>,
        model: &'m Model<'m>,
        params: &SessionParams,
    ) -> Result<Self> {
        let n_batch = params.n_batch(model, usize::MAX);
        let state = model.lay_state(r, 0, n_batch, Keep::default());
        Ok(Self { model, n_batch, state })
    }

    /// Puts the state to what a sequence begins with.
    pub(super) fn begin(&mut self) {
        self.model.reset_state(&mut self.state);
    }

    /// Puts the state to what a sequence begins with.
    pub fn reset(&mut self) {
        self.begin();
    }

    fn n_batch(&self) -> usize {
        self.n_batch
    }

    fn forget_batch(&mut self) {}

    fn count(&mut self, _: usize) {}
}
