//! What a session is made with, and what it answers.
#![forbid(unsafe_code)]

#[cfg(feature = "text")]
use super::stops;
#[cfg(feature = "text")]
use crate::error::{Error, Result};
#[cfg(feature = "text")]
use crate::models::Keep;
use crate::models::{Model, Whole};
#[cfg(feature = "text")]
use crate::tokenizer::Kind;

/// What to do when the context holds no further token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Finish with [`Finish::ContextFull`].
    #[default]
    Stop,
    /// Forget the older half and go on. Positions are absolute in GPT-2, so
    /// the half that stays is worked through again.
    Slide,
}

/// The sizes of a session. Zero means the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionParams {
    /// Tokens the context holds; 0 is what the model was trained for. A recurrent
    /// network has no context: it is how many tokens are remembered for the
    /// penalties, and how many may wait.
    pub n_ctx: u32,
    /// Tokens of a prompt worked on together; 0 is 16. Results do not depend on
    /// it. For a model that needs its whole input (a bidirectional layer), how
    /// many steps that may be; 0 is what its file says.
    pub n_batch: u32,
    /// Bytes that one [`crate::Session::feed_text`] may hold; 0 is 8 per token of context, at least 256.
    pub max_text: u32,
    /// What to do when the context is full.
    pub when_full: WhenFull,
    /// Keep the logits of every token of a batch, not only the last one's.
    pub all_logits: bool,
    /// Keep what [`crate::Session::embedding`] needs.
    pub embedding: bool,
    /// Keep what [`crate::Session::attention`] needs: a number for each
    /// position, head and layer.
    pub attention: bool,
    /// Keep attention's keys and values in F16: half the memory, rounded. Not
    /// done where heads have an odd number of dimensions or without the feature
    /// `quant`, and of no use to a recurrent network.
    pub half_cache: bool,
    /// Do without what only saves time: the table in which a recurrent network with
    /// no more tokens than its first layer has inputs (and one direction in it)
    /// keeps what that layer makes of each. The results are the same.
    pub low_memory: bool,
}

impl SessionParams {
    /// Steps worked on together, of `n_ctx` at most.
    pub(super) fn n_batch(&self, model: &Model<'_>, n_ctx: usize) -> usize {
        let or = |default| if self.n_batch == 0 { default } else { self.n_batch as usize };
        match model.whole_input() {
            Whole::No => or(16).min(n_ctx),
            Whole::AtMost(steps) => or(steps),
            Whole::Exactly(steps) => steps,
        }
    }

    #[cfg(feature = "text")]
    pub(super) fn keep(&self) -> Keep {
        let Self { embedding, attention, half_cache, low_memory, .. } = *self;
        Keep { embedding, attention, half_cache, low_memory }
    }
}

/// [`SessionParams`] with nothing left open.
#[cfg(feature = "text")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub n_vocab: usize,
    pub n_ctx: usize,
    pub n_batch: usize,
    pub max_text: usize,
    pub logits_rows: usize,
    pub text: usize,
}

#[cfg(feature = "text")]
impl Sizes {
    pub fn new(model: &Model<'_>, params: &SessionParams) -> Result<Self> {
        let info = model.info();
        let or = |n: u32, default: usize| if n == 0 { default } else { n as usize };
        let n_ctx = or(params.n_ctx, info.n_ctx as usize);
        if model.has_positions() && n_ctx > info.n_ctx as usize {
            return Err(Error::BadParam { name: &"n_ctx" });
        }
        let n_batch = params.n_batch(model, n_ctx);
        let max_text = match model.tokenizer().kind() {
            Kind::None => 0,
            _ => or(params.max_text, (8 * n_ctx).max(256)),
        };
        Ok(Self {
            n_vocab: info.n_vocab as usize,
            n_ctx,
            n_batch,
            max_text,
            logits_rows: if params.all_logits { n_batch } else { 1 },
            text: stops::TEXT + model.tokenizer().max_token_bytes(),
        })
    }
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The end-of-text token, or another stop token.
    StopToken,
    /// A stop string.
    StopString,
    /// The context is full.
    ContextFull,
}

/// How far [`crate::Session::eval`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The queue is empty and the logits of its last token are there.
    Ready,
    /// The budget is spent (or, with `all_logits`, a batch is done): call again.
    More,
}

/// How far [`crate::Session::run`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A token was chosen; its text, as far as it is certain, is in [`crate::Session::text`].
    Token(u32),
    /// The budget is spent: call again.
    More,
    /// The text has ended; [`crate::Session::text`] holds the rest of it.
    Finished(Finish),
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// Tokens the context holds.
    pub n_ctx: u32,
    /// Tokens in the context that were worked through; for a recurrent network
    /// all steps since the last reset.
    pub n_past: u32,
    /// Tokens waiting.
    pub n_queued: u32,
    /// Tokens chosen or accepted since the last reset.
    pub n_generated: u32,
    /// Why the text ended, if it has.
    pub finish: Option<Finish>,
    /// Work left in the queue, in units of the budget; an estimate.
    pub work_left: u64,
    /// Tokens worked through since the last reset, in the same units.
    pub work_done: u64,
}
