//! Values on the heap that others refer to.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::NonNull;
use pagelm::{Error, Result};

/// A `Box` whose contents others refer to for as long as it lives, even while
/// it is moved (which a `Box` does not allow).
pub(crate) struct Held<T: ?Sized>(NonNull<T>);

impl<T: ?Sized> Held<T> {
    pub fn new(value: Box<T>) -> Self {
        Self(NonNull::from(Box::leak(value)))
    }

    /// The contents, for as long as the caller says.
    ///
    /// # Safety
    /// Nothing may use them any more when this `Held` is dropped, and no
    /// other use of them may be made while this one lasts.
    pub unsafe fn get_mut<'a>(&self) -> &'a mut T {
        // SAFETY: it came from a box that lives until the drop; else the caller's promise.
        unsafe { &mut *self.0.as_ptr() }
    }
}

impl<T: ?Sized> Drop for Held<T> {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and nothing uses the contents any more.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl Held<[u64]> {
    /// Zeroed memory of at least so many bytes; an error where there is none.
    pub fn zeroed(bytes: usize) -> Result<Self> {
        let mut words = Vec::new();
        let n = bytes.div_ceil(8);
        words.try_reserve_exact(n).map_err(|_| Error::OutOfMemory { need: bytes })?;
        words.resize(n, 0u64);
        Ok(Self::new(words.into_boxed_slice()))
    }

    /// The first `n` bytes, as [`Held::get_mut`] gives all of them.
    ///
    /// # Safety
    /// As [`Held::get_mut`].
    pub unsafe fn bytes<'a>(&self, n: usize) -> &'a mut [u8] {
        // SAFETY: the caller's promise.
        let words = unsafe { self.get_mut() };
        &mut bytemuck::cast_slice_mut(words)[..n]
    }
}
