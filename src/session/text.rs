//! Writing a text: the prompt queue, the step, the stop rules.
#![forbid(unsafe_code)]

use super::params::Sizes;
use super::stops::Stops;
use super::{Finish, Progress, Session, SessionParams, Step, WhenFull};
use crate::arena::Reserve;
use crate::error::{Error, Result};
use crate::models::{Batch, Cursor, Model};
use crate::sample::{self, Context, Rng, Sampling, Scratch};
use crate::slices;
use crate::tensor::Budget;
use crate::tokenizer::{Kind, Tokenizer};
use bytemuck::{Pod, Zeroable};

/// Logit biases held at most.
pub const MAX_BIAS: usize = 256;

/// The numbers of a session that are not arrays.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Head {
    pub(super) n_past: u32,
    pub(super) n_queued: u32,
    pub(super) n_generated: u32,
    /// 0, or 1 + the place of the reason in [`FINISH`].
    pub(super) finish: u32,
    /// 1 + the last token, or 0.
    pub(super) token: u32,
    /// Rows of logits that hold something.
    pub(super) logits_rows: u32,
    /// Tokens of the batch in progress, or 0.
    pub(super) batch: u32,
    /// Its tokens from here on get logits.
    pub(super) logits_from: u32,
    pub(super) cursor: Cursor,
    pub(super) n_bias: u32,
    /// Bytes of text that were released by the last step.
    pub(super) released: u32,
    /// Bytes of text, released or held back.
    pub(super) text_len: u32,
    /// Tokens worked through since the last reset.
    pub(super) n_evaluated: u64,
    pub(super) rng: Rng,
    pub(super) sampling: Sampling,
}

pub(super) const FINISH: [Finish; 3] = [Finish::StopToken, Finish::StopString, Finish::ContextFull];

impl<'m> Session<'m> {
    /// The one layout of a session's memory.
    pub(super) fn lay(
        r: &mut Reserve<'m>,
        model: &'m Model<'m>,
        params: &SessionParams,
    ) -> Result<Self> {
        let sizes = Sizes::new(model, params)?;
        let logits = sizes.logits_rows.saturating_mul(sizes.n_vocab);
        Ok(Self {
            model,
            sizes,
            params: *params,
            head: Head::default(),
            history: r.take(sizes.n_ctx),
            queue: r.take(sizes.n_ctx),
            stops: Stops::lay(r),
            bias_ids: r.take(MAX_BIAS),
            bias: r.take(MAX_BIAS),
            text: r.take(sizes.text),
            logits: r.take(logits),
            scratch: Scratch { logits: r.take(sizes.n_vocab), ids: r.take(sizes.n_vocab) },
            work: r.take(Tokenizer::work_size(sizes.max_text)),
            state: model.lay_state(r, sizes.n_ctx, sizes.n_batch, params.keep()),
            n_attended: 0,
        })
    }

    /// Begins: all that is not zero.
    pub(super) fn begin(&mut self) {
        self.head.rng = Rng::new(0);
        self.model.reset_state(&mut self.state);
    }

    /// Sets how tokens are chosen, and starts the generator anew from its seed.
    ///
    /// # Errors
    /// [`Error::BadParam`] with the parameter that is out of range; nothing has changed then.
    pub fn set_sampling(&mut self, sampling: &Sampling) -> Result<()> {
        sampling.check()?;
        self.head.sampling = *sampling;
        self.head.rng = Rng::new(sampling.seed);
        Ok(())
    }

    /// Sets what is added to the logits of some tokens, in place of what was set before.
    ///
    /// # Errors
    /// [`Error::Full`] for more than [`MAX_BIAS`], [`Error::BadToken`], or
    /// [`Error::BadParam`] for what is not finite; nothing has changed then.
    pub fn set_logit_bias(&mut self, bias: &[(u32, f32)]) -> Result<()> {
        self.set_bias(bias.len(), bias.iter().copied())
    }

    /// [`Session::set_logit_bias`] for the `n` pairs of any list.
    pub(crate) fn set_bias<I>(&mut self, n: usize, bias: I) -> Result<()>
    where
        I: Iterator<Item = (u32, f32)> + Clone,
    {
        if n > MAX_BIAS {
            return Err(Error::Full { what: &"logit bias", max: MAX_BIAS as u16 });
        }
        for (id, value) in bias.clone() {
            self.model.check_id(id)?;
            if !value.is_finite() {
                return Err(Error::BadParam { name: &"logit bias" });
            }
        }
        for ((slot, value), new) in self.bias_ids.iter_mut().zip(self.bias.iter_mut()).zip(bias) {
            (*slot, *value) = new;
        }
        self.head.n_bias = n as u32;
        Ok(())
    }

    /// Adds a string at which the text ends; it is not part of the text.
    ///
    /// # Errors
    /// [`Error::Full`], or [`Error::BadParam`] for an empty string.
    pub fn add_stop(&mut self, stop: &[u8]) -> Result<()> {
        self.stops.add(stop)
    }

    /// Adds a token at which the text ends, beside the model's end-of-text token.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::BadToken`].
    pub fn add_stop_token(&mut self, id: u32) -> Result<()> {
        self.model.check_id(id)?;
        self.stops.add_token(id)
    }

    /// Forgets all stop strings and stop tokens that were added.
    pub fn clear_stops(&mut self) {
        self.stops.clear();
    }

    /// Queues a text, behind the token that begins one if the model's file asks for it
    /// (`tokenizer.ggml.add_bos_token`) and this is the beginning. With `special`,
    /// names of special tokens in it become those tokens.
    ///
    /// # Errors
    /// [`Error::TextTooLong`], [`Error::PromptTooLong`], [`Error::NoTokenizer`]
    /// or [`Error::Unencodable`]; the queue is as it was then.
    pub fn feed_text(&mut self, text: &[u8], special: bool) -> Result<()> {
        let tokenizer = self.model.tokenizer();
        if tokenizer.kind() == Kind::None {
            return Err(Error::NoTokenizer);
        }
        if text.len() > self.sizes.max_text {
            return Err(Error::TextTooLong { max: self.sizes.max_text });
        }
        let room = self.room();
        let waiting = self.head.n_queued as usize;
        let free = self.queue.get_mut(waiting..).unwrap_or_default();
        let mut n = 0usize;
        // All tokens are counted, so that the error can say how many there are.
        let mut put = |id| {
            if let Some(slot) = free.get_mut(n) {
                *slot = id;
            }
            n += 1;
            Ok(())
        };
        let begins = tokenizer.add_bos() && self.head.n_past == 0 && waiting == 0;
        if let Some(bos) = tokenizer.bos().filter(|_| begins) {
            put(bos)?;
        }
        tokenizer.encode(text, special, self.work, &mut put)?;
        self.fed(n, room)
    }

    /// Queues tokens.
    ///
    /// # Errors
    /// [`Error::BadToken`] or [`Error::PromptTooLong`]; the queue is as it was then.
    pub fn feed_ids(&mut self, ids: &[u32]) -> Result<()> {
        ids.iter().try_for_each(|&id| self.model.check_id(id))?;
        let room = self.room();
        let free = self.queue.get_mut(self.head.n_queued as usize..).unwrap_or_default();
        for (slot, id) in free.iter_mut().zip(ids) {
            *slot = *id;
        }
        self.fed(ids.len(), room)
    }

    /// Tokens that the queue can still take.
    fn room(&self) -> usize {
        let past = if self.can_fill_up() { self.head.n_past } else { 0 };
        let taken = past + self.head.n_queued;
        self.sizes.n_ctx.saturating_sub(taken as usize)
    }

    /// Whether the text ends when the context is full.
    fn can_fill_up(&self) -> bool {
        self.params.when_full == WhenFull::Stop && self.model.has_positions()
    }

    fn fed(&mut self, n: usize, room: usize) -> Result<()> {
        if n > room {
            let max = self.sizes.n_ctx;
            return Err(Error::PromptTooLong { len: max - room + n });
        }
        self.head.n_queued += n as u32;
        if n > 0 {
            self.head.finish = 0;
        }
        Ok(())
    }

    /// Works through the queue for `budget` units of 65,536 multiplications
    /// (see [`crate::ModelInfo::work_per_token`]); 0 is no limit.
    ///
    /// # Errors
    /// [`Error::NothingFed`] if there never was anything to work through;
    /// [`Error::PromptTooLong`] if the context is full.
    pub fn eval(&mut self, budget: u32) -> Result<Progress> {
        let mut budget = Budget::new(budget);
        while self.head.n_queued > 0 {
            if self.head.batch == 0 {
                self.begin_batch()?;
            }
            if !self.advance_batch(&mut budget)? {
                return Ok(Progress::More);
            }
            let between = self.params.all_logits || budget.is_spent();
            if between && self.head.n_queued > 0 {
                return Ok(Progress::More);
            }
        }
        if self.head.logits_rows > 0 { Ok(Progress::Ready) } else { Err(Error::NothingFed) }
    }

    fn begin_batch(&mut self) -> Result<()> {
        let (n_past, n_ctx) = (self.head.n_past as usize, self.sizes.n_ctx);
        if n_past >= n_ctx {
            if self.can_fill_up() {
                let len = n_past + self.head.n_queued as usize;
                return Err(Error::PromptTooLong { len });
            }
            if self.model.has_positions() {
                self.slide();
            } else {
                self.forget_half();
            }
        }
        let room = n_ctx - (self.head.n_past as usize).min(n_ctx);
        let queued = self.head.n_queued as usize;
        let n = queued.min(self.sizes.n_batch).min(room);
        let logits_from = match self.params.all_logits {
            true => 0,
            false if n == queued => n - n.min(1),
            false => n,
        };
        self.head.batch = n as u32;
        self.head.logits_from = logits_from as u32;
        self.head.cursor = Cursor::default();
        self.n_attended = 0;
        Ok(())
    }

    /// Puts the newer half of the context before the queue, and begins anew with it.
    fn slide(&mut self) {
        let (n_past, queued) = (self.head.n_past as usize, self.head.n_queued as usize);
        let keep = n_past.min(self.sizes.n_ctx / 2).min(self.sizes.n_ctx.saturating_sub(queued));
        let Some(queue) = self.queue.get_mut(..keep + queued) else { return };
        slices::shift_right(queue, keep);
        slices::copy(queue, self.history.get(n_past - keep..n_past).unwrap_or_default());
        self.head.n_queued = (keep + queued) as u32;
        self.head.n_past = 0;
        self.model.reset_state(&mut self.state);
    }

    /// Forgets the older half of the tokens, which only penalties look at: what
    /// a recurrent network makes of them is in its state.
    fn forget_half(&mut self) {
        let (n_past, keep) = (self.head.n_past as usize, self.sizes.n_ctx / 2);
        if let Some(past) = self.history.get_mut(..n_past) {
            slices::shift_left(past, n_past.saturating_sub(keep));
        }
        self.head.n_past = keep as u32;
    }

    /// Runs the batch on; returns whether it is done.
    fn advance_batch(&mut self, budget: &mut Budget) -> Result<bool> {
        let head = &mut self.head;
        let (n, pos) = (head.batch as usize, head.n_past as usize);
        let ids = self.queue.get(..n).ok_or(Error::Internal)?;
        let batch = Batch { ids, pos, logits_from: head.logits_from as usize };
        let rows = n - batch.logits_from.min(n);
        if rows > 0 {
            head.logits_rows = 0;
        }
        let progress = (&mut head.cursor, budget);
        if !self.model.forward(&mut self.state, batch, progress, self.logits)? {
            return Ok(false);
        }
        let kept = self.history.get_mut(pos..pos + n).ok_or(Error::Internal)?;
        slices::copy(kept, ids);
        let queued = head.n_queued as usize;
        let queue = self.queue.get_mut(..queued).ok_or(Error::Internal)?;
        slices::shift_left(queue, n);
        head.n_queued -= n as u32;
        head.n_past += n as u32;
        head.n_evaluated += n as u64;
        head.batch = 0;
        self.n_attended = head.n_past;
        if rows > 0 {
            head.logits_rows = rows as u32;
        }
        Ok(true)
    }

    /// Chooses a token from the logits of the last token fed, and queues it.
    ///
    /// # Errors
    /// [`Error::NoLogits`] before [`Session::eval`] is done, [`Error::Overflow`].
    pub fn sample(&mut self) -> Result<Step> {
        if self.head.n_queued > 0 || self.head.logits_rows == 0 {
            return Err(Error::NoLogits);
        }
        let n_vocab = self.sizes.n_vocab;
        let last = (self.head.logits_rows as usize - 1) * n_vocab;
        let logits = self.logits.get(last..last + n_vocab).ok_or(Error::Internal)?;
        let n_bias = self.head.n_bias as usize;
        let cx = Context {
            sampling: &self.head.sampling,
            recent: self.history.get(..self.head.n_past as usize).unwrap_or_default(),
            bias: (
                self.bias_ids.get(..n_bias).unwrap_or_default(),
                self.bias.get(..n_bias).unwrap_or_default(),
            ),
        };
        let id = sample::choose(logits, &cx, &mut self.head.rng, &mut self.scratch)?;
        let eos = self.model.tokenizer().eos().filter(|_| self.head.sampling.ignore_eos == 0);
        if eos == Some(id) || self.stops.has_token(id) {
            self.head.token = id + 1;
            return Ok(self.finish(Finish::StopToken));
        }
        self.accept(id)
    }

    /// Queues a token that the caller chose, and adds its text.
    ///
    /// # Errors
    /// [`Error::BadToken`]; [`Error::PromptTooLong`] if the queue is full.
    pub fn accept(&mut self, id: u32) -> Result<Step> {
        self.model.check_id(id)?;
        let queued = self.head.n_queued as usize;
        let full = Error::PromptTooLong { len: queued + 1 };
        *self.queue.get_mut(queued).ok_or(full)? = id;
        self.head.n_queued += 1;
        self.head.n_generated += 1;
        self.head.token = id + 1;
        self.head.finish = 0;
        if self.add_text(id)? {
            return Ok(self.finish(Finish::StopString));
        }
        Ok(Step::Token(id))
    }

    /// Appends a token's text and sees what can be released; returns whether
    /// a stop string was completed.
    fn add_text(&mut self, id: u32) -> Result<bool> {
        self.drop_released();
        let (text, len) = (&mut *self.text, &mut self.head.text_len);
        let decoded = self.model.tokenizer().decode(id, &mut |bytes| {
            let free = text.iter_mut().skip(*len as usize);
            *len += free.zip(bytes).map(|(slot, byte)| *slot = *byte).count() as u32;
        });
        match decoded {
            // A model may have no tokenizer, or more tokens than its tokenizer: no text then.
            Ok(()) | Err(Error::NoTokenizer | Error::BadToken { .. }) => {}
            Err(error) => return Err(error),
        }
        let text = self.text.get(..self.head.text_len as usize).unwrap_or_default();
        if let Some(end) = self.stops.find(text) {
            self.head.text_len = end as u32;
            return Ok(true);
        }
        self.head.released = (text.len() - self.stops.held_back(text)) as u32;
        Ok(false)
    }

    /// Forgets the text that the caller has had a chance to read.
    fn drop_released(&mut self) {
        let (released, len) = (self.head.released as usize, self.head.text_len as usize);
        if let Some(text) = self.text.get_mut(..len) {
            slices::shift_left(text, released);
        }
        self.head.text_len -= self.head.released.min(self.head.text_len);
        self.head.released = 0;
    }

    /// Ends the text: what was held back is released.
    fn finish(&mut self, why: Finish) -> Step {
        if why != Finish::StopString {
            self.drop_released();
        }
        self.head.released = self.head.text_len;
        self.head.finish = 1 + FINISH.iter().position(|f| *f == why).unwrap_or_default() as u32;
        Step::Finished(why)
    }

    pub(super) fn finished(&self) -> Option<Finish> {
        FINISH.get((self.head.finish as usize).checked_sub(1)?).copied()
    }

    /// [`Session::eval`], then [`Session::sample`]. An empty session begins
    /// with the model's token for the beginning of a text, if it has one.
    ///
    /// # Errors
    /// Theirs.
    pub fn run(&mut self, budget: u32) -> Result<Step> {
        if let Some(why) = self.finished() {
            self.drop_released();
            return Ok(Step::Finished(why));
        }
        let head = &self.head;
        if head.n_past == 0 && head.n_queued == 0 {
            let bos = self.model.tokenizer().bos().ok_or(Error::NothingFed)?;
            self.feed_ids(&[bos])?;
        }
        if self.can_fill_up()
            && self.head.n_past as usize == self.sizes.n_ctx
            && self.head.n_queued > 0
        {
            return Ok(self.finish(Finish::ContextFull));
        }
        match self.eval(budget)? {
            Progress::More => Ok(Step::More),
            Progress::Ready => self.sample(),
        }
    }

    /// Releases the text that is held back, as it may begin a stop string: for a
    /// caller that takes no further token. [`Session::text`] has it.
    pub fn release_text(&mut self) {
        self.drop_released();
        self.head.released = self.head.text_len;
    }

    /// The text that the last step released: bytes, which may end inside a
    /// UTF-8 character. Valid until the next call.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.text.get(..self.head.released as usize).unwrap_or_default()
    }

    /// Empties the context and the text, and starts the generator anew.
    /// Sampling, biases and stops stay.
    pub fn reset(&mut self) {
        let Head { n_bias, sampling, .. } = self.head;
        self.head = Head { n_bias, sampling, rng: Rng::new(sampling.seed), ..Head::default() };
        self.model.reset_state(&mut self.state);
        self.n_attended = 0;
    }
}
