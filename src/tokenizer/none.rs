//! In place of a tokenizer, in a build without the feature `text`.
#![forbid(unsafe_code)]

use super::Kind;
use crate::arena::Reserve;
use crate::error::Result;
use crate::gguf::Gguf;
use core::marker::PhantomData;

/// None, whatever the file holds.
pub struct Tokenizer<'a>(PhantomData<&'a [u8]>);

impl<'a> Tokenizer<'a> {
    pub(crate) fn lay(_: &mut Reserve<'a>, _: &Gguf<'_>) -> Result<Self> {
        Ok(Self(PhantomData))
    }

    pub(crate) fn with_file(self, _: &'a [u8]) -> Self {
        self
    }

    /// [`Kind::None`].
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::None
    }

    /// None.
    #[must_use]
    pub fn bos(&self) -> Option<u32> {
        None
    }

    /// None.
    #[must_use]
    pub fn eos(&self) -> Option<u32> {
        None
    }

    /// None.
    #[must_use]
    pub fn n_vocab(&self) -> usize {
        0
    }
}
