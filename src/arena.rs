//! Memory: one layout function counts, then carves.
//!
//! A [`Reserve`] is handed through the layout code of a model or a session.
//! While counting it only adds up sizes and gives empty slices; while carving
//! it splits the caller's block. Because both passes run the same code, the
//! size query and the use of memory cannot drift apart.
//!
//! ```text
//! start of the block (a multiple of 8)
//! |<- piece 0 ->|pad|<- piece 1 ->|pad|<- piece 2 ->| ...
//!                   ^ every piece starts a multiple of ALIGN from the start
//! ```
//!
//! Pieces hold plain numbers without pointers, so a copy of the block is a
//! copy of the state.
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use bytemuck::Pod;

/// Pieces start at multiples of this many bytes: a cache line.
pub const ALIGN: usize = 64;

/// The alignment asked of every block that a caller gives.
pub const BLOCK_ALIGN: usize = 8;

/// A block of memory being laid out: counted, or carved.
pub struct Reserve<'a> {
    /// What is left of the caller's block; `None` while counting.
    rest: Option<&'a mut [u8]>,
    used: usize,
    have: usize,
}

impl<'a> Reserve<'a> {
    /// Counts only: [`Reserve::used`] is the size that carving will need.
    #[must_use]
    pub fn count() -> Self {
        Self { rest: None, used: 0, have: 0 }
    }

    /// Carves `block`.
    ///
    /// # Errors
    /// [`Error::Misaligned`] if it does not start at a multiple of [`BLOCK_ALIGN`].
    pub fn carve(block: &'a mut [u8]) -> Result<Self> {
        if block.as_ptr().align_offset(BLOCK_ALIGN) != 0 {
            return Err(Error::Misaligned);
        }
        let have = block.len();
        Ok(Self { rest: Some(block), used: 0, have })
    }

    /// Whether this pass only counts; pieces are empty then.
    #[must_use]
    pub fn counting(&self) -> bool {
        self.rest.is_none()
    }

    /// Bytes laid out so far.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// The next piece: `n` elements of `T`, as the block held them.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the block is too small (`need` is then a lower
    /// bound), [`Error::TooLarge`] if the size does not fit an address.
    pub fn take<T: Pod>(&mut self, n: usize) -> Result<&'a mut [T]> {
        let size = n.checked_mul(size_of::<T>()).ok_or(Error::TooLarge)?;
        let start = self.used.checked_next_multiple_of(ALIGN).ok_or(Error::TooLarge)?;
        let end = start.checked_add(size).ok_or(Error::TooLarge)?;
        let pad = start - self.used;
        let Some(rest) = self.rest.take() else {
            self.used = end;
            return Ok(&mut []);
        };
        let too_small = Error::OutOfMemory { need: end as u64, have: self.have as u64 };
        let rest = rest.get_mut(pad..).ok_or(too_small)?;
        let (piece, rest) = rest.split_at_mut_checked(size).ok_or(too_small)?;
        self.rest = Some(rest);
        self.used = end;
        bytemuck::try_cast_slice_mut(piece).map_err(|_| Error::Misaligned)
    }

    /// What is left of the block after the last piece (empty while counting).
    #[must_use]
    pub fn into_rest(self) -> &'a mut [u8] {
        self.rest.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lay<'a>(r: &mut Reserve<'a>) -> Result<(&'a mut [u8], &'a mut [f32], &'a mut [u64])> {
        Ok((r.take(3)?, r.take(5)?, r.take(7)?))
    }

    #[test]
    fn what_was_counted_can_be_carved_and_nothing_less() {
        let mut count = Reserve::count();
        assert!(
            lay(&mut count).is_ok_and(|(a, b, c)| a.is_empty() && b.is_empty() && c.is_empty())
        );
        let need = count.used();
        let mut words = [0u64; 64];
        let block: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        for size in 0..need {
            let mut carve = Reserve::carve(&mut block[..size]).unwrap();
            assert!(
                matches!(lay(&mut carve), Err(Error::OutOfMemory { have, .. }) if have == size as u64)
            );
        }
        let mut carve = Reserve::carve(&mut block[..need]).unwrap();
        let (a, b, c) = lay(&mut carve).unwrap();
        assert_eq!((a.len(), b.len(), c.len(), carve.used()), (3, 5, 7, need));
    }

    #[test]
    fn misaligned_and_oversized_blocks_are_errors() {
        let mut words = [0u64; 8];
        let block: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        assert_eq!(Reserve::carve(&mut block[1..]).err(), Some(Error::Misaligned));
        let mut count = Reserve::count();
        assert_eq!(count.take::<u64>(usize::MAX).err(), Some(Error::TooLarge));
    }
}
