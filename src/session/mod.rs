//! A session: one text being written with a model.
//!
//! Prompt tokens go into a queue; [`Session::eval`] works through it in
//! batches, stopping wherever its budget ends; [`Session::sample`] chooses a
//! token from the logits and queues it. [`Session::run`] does both. Nothing is
//! called back: stop calling and it is cancelled.
//!
//! All that a session keeps is numbers in its own memory, without pointers, so
//! a snapshot is a copy and can be restored elsewhere.
#![forbid(unsafe_code)]

mod params;
#[cfg(feature = "rnn")]
mod predict;
#[cfg(feature = "text")]
mod read;
#[cfg(feature = "text")]
mod snapshot;
#[cfg(feature = "text")]
mod stops;
#[cfg(feature = "text")]
mod text;

pub use params::{Finish, Progress, SessionInfo, SessionParams, Step, WhenFull};
#[cfg(feature = "rnn")]
pub use predict::Predict;

#[cfg(feature = "text")]
pub use text::MAX_BIAS;
#[cfg(feature = "text")]
use text::{FINISH, Head};

use crate::arena::Reserve;
use crate::error::{Error, Result};
use crate::models::{Model, State};
#[cfg(feature = "text")]
use crate::sample::Scratch;
#[cfg(feature = "text")]
use params::Sizes;
#[cfg(feature = "text")]
use stops::Stops;

/// A text being written. See the module's description.
#[cfg(feature = "text")]
pub struct Session<'m> {
    model: &'m Model<'m>,
    sizes: Sizes,
    params: SessionParams,
    head: Head,
    /// The tokens in the context, (n_ctx).
    history: &'m mut [u32],
    /// The tokens waiting, (n_ctx).
    queue: &'m mut [u32],
    stops: Stops<'m>,
    bias_ids: &'m mut [u32],
    bias: &'m mut [f32],
    /// Text released by the last step, then text held back.
    text: &'m mut [u8],
    /// (logits_rows, n_vocab)
    logits: &'m mut [f32],
    scratch: Scratch<'m>,
    /// The tokenizer's.
    work: &'m mut [u32],
    state: State<'m>,
    /// Positions that attention's kept weights are of; 0 if they are none.
    n_attended: u32,
}

/// A model as a function, with its state: all there is without the feature `text`.
#[cfg(not(feature = "text"))]
pub struct Session<'m> {
    model: &'m Model<'m>,
    n_batch: usize,
    state: State<'m>,
}

impl<'m> Session<'m> {
    /// Bytes of memory that a session of these sizes needs.
    ///
    /// # Errors
    /// [`Error::BadParam`] if a size is out of range, [`Error::TooLarge`].
    pub fn mem_size(model: &'m Model<'m>, params: &SessionParams) -> Result<usize> {
        Self::lay_size(model, params)
    }

    fn lay_size(model: &Model<'_>, params: &SessionParams) -> Result<usize> {
        let mut r = Reserve::count();
        Session::lay(&mut r, model, params)?;
        r.finish()
    }

    /// As [`Session::mem_size`], from the header of a model file alone.
    ///
    /// # Errors
    /// [`Error::Truncated`] if the header is not complete; else as
    /// [`Session::mem_size`] and [`crate::probe`].
    pub fn probe(header: &'m [u8], params: &SessionParams) -> Result<usize> {
        Self::lay_size(&Model::outline(header)?, params)
    }

    /// Begins a session in `mem`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] with the size that [`Session::mem_size`] gives.
    pub fn new(model: &'m Model<'m>, mem: &'m mut [u8], params: &SessionParams) -> Result<Self> {
        let (need, have) = (Self::mem_size(model, params)?, mem.len());
        if have < need {
            return Err(Error::OutOfMemory { need });
        }
        let mem = mem.get_mut(..need).ok_or(Error::Internal)?;
        mem.fill(0);
        let mut session = Self::lay(&mut Reserve::carve(mem), model, params)?;
        session.begin();
        Ok(session)
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &'m Model<'m> {
        self.model
    }
}
