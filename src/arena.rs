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
///
/// Failures stick: once a piece does not fit, it and all later ones are empty,
/// and [`Reserve::carved`] and [`Reserve::finish`] say why.
pub struct Reserve<'a> {
    /// What is left of the caller's block; empty while counting.
    rest: &'a mut [u8],
    counting: bool,
    /// Bytes laid out so far.
    used: usize,
    failed: Option<Error>,
}

impl<'a> Reserve<'a> {
    /// Counts only: [`Reserve::finish`] gives the size that carving will need.
    #[must_use]
    pub fn count() -> Self {
        Self { rest: &mut [], counting: true, used: 0, failed: None }
    }

    /// Carves `block`, which must start at a multiple of [`BLOCK_ALIGN`].
    #[must_use]
    pub fn carve(block: &'a mut [u8]) -> Self {
        let misaligned = block.as_ptr().align_offset(BLOCK_ALIGN) != 0;
        let failed = misaligned.then_some(Error::Misaligned);
        Self { rest: block, counting: false, used: 0, failed }
    }

    /// The next piece: `n` elements of `T`, as the block held them. Empty while
    /// counting and after a failure.
    #[inline(never)]
    pub fn take<T: Pod>(&mut self, n: usize) -> &'a mut [T] {
        let bytes = self.take_bytes(n, size_of::<T>());
        bytemuck::try_cast_slice_mut(bytes).unwrap_or_default()
    }

    #[inline(never)]
    fn take_bytes(&mut self, n: usize, size: usize) -> &'a mut [u8] {
        let start = self.used.checked_add(ALIGN - 1).map(|end| end & !(ALIGN - 1));
        let end = start.zip(n.checked_mul(size)).and_then(|(start, size)| start.checked_add(size));
        let (Some(start), Some(end), None) = (start, end, self.failed) else {
            self.failed = self.failed.or(Some(Error::TooLarge));
            return &mut [];
        };
        let pad = start - self.used;
        self.used = end;
        if self.counting {
            return &mut [];
        }
        let rest = core::mem::take(&mut self.rest).get_mut(pad..);
        match rest.and_then(|rest| rest.split_at_mut_checked(end - start)) {
            Some((piece, rest)) => {
                self.rest = rest;
                piece
            }
            None => {
                self.failed = Some(Error::OutOfMemory { need: end });
                &mut []
            }
        }
    }

    /// Whether there are pieces to fill: false while counting.
    ///
    /// # Errors
    /// [`Error::Misaligned`], [`Error::OutOfMemory`] (`need` is a lower bound:
    /// what comes later was not counted) or [`Error::TooLarge`].
    pub fn carved(&self) -> Result<bool> {
        self.failed.map_or(Ok(!self.counting), Err)
    }

    /// Bytes laid out.
    ///
    /// # Errors
    /// As [`Reserve::carved`].
    pub fn finish(&self) -> Result<usize> {
        self.carved().map(|_| self.used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lay<'a>(r: &mut Reserve<'a>) -> (&'a mut [u8], &'a mut [f32], &'a mut [u64]) {
        (r.take(3), r.take(5), r.take(7))
    }

    #[test]
    fn what_was_counted_can_be_carved_and_nothing_less() {
        let mut count = Reserve::count();
        let (a, b, c) = lay(&mut count);
        assert!(a.is_empty() && b.is_empty() && c.is_empty() && count.carved() == Ok(false));
        let need = count.finish().unwrap();
        let mut words = [0u64; 64];
        let block: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        for size in 0..need {
            let mut carve = Reserve::carve(&mut block[..size]);
            lay(&mut carve);
            assert!(
                matches!(carve.finish(), Err(Error::OutOfMemory { need: least }) if least > size)
            );
        }
        let mut carve = Reserve::carve(&mut block[..need]);
        let (a, b, c) = lay(&mut carve);
        assert_eq!((a.len(), b.len(), c.len(), carve.finish()), (3, 5, 7, Ok(need)));
    }

    #[test]
    fn misaligned_and_oversized_blocks_are_errors() {
        let mut words = [0u64; 8];
        let block: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        assert_eq!(Reserve::carve(&mut block[1..]).finish(), Err(Error::Misaligned));
        let mut count = Reserve::count();
        assert!(count.take::<u64>(usize::MAX).is_empty());
        assert_eq!((count.carved(), count.finish()), (Err(Error::TooLarge), Err(Error::TooLarge)));
    }
}
