//! The border: raw pointers come in, checked values go on.
//!
//! Each constructor here is `unsafe` and checks what can be checked: NULL,
//! alignment, ranges that wrap around (on wasm also ranges outside of the
//! memory), `struct_size`, and whether a handle is alive. What no program can
//! check stays the caller's promise, the same for every function of the header:
//!
//! **The promise.** A pointer that is not NULL points to memory of the stated
//! length that the caller may read (and write, where it is not `const`) for
//! the call's duration, and that no other thread changes meanwhile; memory
//! and files that an `init` was given stay so until the handle is used no more.
//!
//! A value made here carries the fact on: its methods are safe.

use crate::error::{Error, Result};
use bytemuck::{Pod, bytes_of, bytes_of_mut};
use core::marker::PhantomData;
use core::{ptr, slice};

use super::types::pagelm_error;

/// The longest structure that a later version of the header may have.
const STRUCT_MAX: u32 = 4096;

/// A range of addresses, for comparing.
#[derive(Clone, Copy)]
pub(super) struct Span {
    start: usize,
    len: usize,
}

impl Span {
    /// The range of `n` elements at `p`: not NULL unless empty, aligned, not wrapping.
    pub(super) fn new<T>(p: *const T, n: usize, name: &'static str) -> Result<Self> {
        let len = n.checked_mul(size_of::<T>()).ok_or(Error::BadRange { name })?;
        let start = p.addr();
        if start == 0 {
            return if len == 0 { Ok(Self { start, len }) } else { Err(Error::Null { name }) };
        }
        if !start.is_multiple_of(align_of::<T>()) {
            return Err(Error::Misaligned);
        }
        let end = start.checked_add(len).ok_or(Error::BadRange { name })?;
        if len > isize::MAX as usize || end as u64 > memory_end() {
            return Err(Error::BadRange { name });
        }
        Ok(Self { start, len })
    }

    /// Bytes in it.
    pub(super) fn len(self) -> usize {
        self.len
    }

    /// An error if the two ranges share a byte.
    pub(super) fn apart(self, other: Self, name: &'static str) -> Result<()> {
        // Neither sum wraps: `new` saw to it.
        let before = self.start + self.len <= other.start;
        let behind = other.start + other.len <= self.start;
        let empty = self.len == 0 || other.len == 0;
        if before || behind || empty { Ok(()) } else { Err(Error::Overlap { name }) }
    }
}

/// One past the last address that can exist.
#[cfg(target_arch = "wasm32")]
fn memory_end() -> u64 {
    const PAGE: u64 = 65_536;
    core::arch::wasm32::memory_size::<0>() as u64 * PAGE
}

/// One past the last address that can exist.
#[cfg(not(target_arch = "wasm32"))]
fn memory_end() -> u64 {
    u64::MAX
}

/// The caller's elements, to read.
///
/// # Safety
/// The promise of this module, for `n` elements at `p`, for as long as `'a`.
pub(super) unsafe fn input<'a, T: Pod>(
    p: *const T,
    n: usize,
    name: &'static str,
) -> Result<&'a [T]> {
    Span::new(p, n, name)?;
    if n == 0 {
        return Ok(&[]);
    }
    // SAFETY: not NULL, aligned and not wrapping by `Span::new`; readable and unchanged by the promise.
    Ok(unsafe { slice::from_raw_parts(p, n) })
}

/// The caller's bytes, to read and write, already holding values.
///
/// # Safety
/// The promise of this module, for `n` bytes at `p`, for as long as `'a`; all of them initialised.
pub(super) unsafe fn input_mut<'a>(
    p: *mut u8,
    n: usize,
    name: &'static str,
) -> Result<&'a mut [u8]> {
    Span::new(p, n, name)?;
    if n == 0 {
        return Ok(&mut []);
    }
    // SAFETY: not NULL and not wrapping by `Span::new`; ours alone and initialised by the promise.
    Ok(unsafe { slice::from_raw_parts_mut(p, n) })
}

/// Room for answers in the caller's memory, which may be uninitialised.
pub(super) struct Output<'a, T> {
    p: *mut T,
    n: usize,
    span: Span,
    life: PhantomData<&'a mut [T]>,
}

impl<T: Copy> Output<'_, T> {
    /// Room for `n` elements at `p`.
    ///
    /// # Safety
    /// The promise of this module, for `n` elements at `p`.
    pub(super) unsafe fn new(p: *mut T, n: usize, name: &'static str) -> Result<Self> {
        let span = Span::new(p, n, name)?;
        Ok(Self { p, n, span, life: PhantomData })
    }

    /// Elements there is room for.
    pub(super) fn room(&self) -> usize {
        self.n
    }

    /// The range it takes up.
    pub(super) fn span(&self) -> Span {
        self.span
    }

    /// Writes element `i`; past the room it does nothing.
    pub(super) fn put(&mut self, i: usize, value: T) {
        if i < self.n {
            // SAFETY: `i` is below the `n` elements that `new` was promised; aligned by `Span::new`.
            unsafe { self.p.add(i).write(value) }
        }
    }

    /// Writes `values` from element `at` on; what does not fit is left out.
    pub(super) fn put_all(&mut self, at: usize, values: &[T]) {
        let room = self.n.saturating_sub(at);
        let n = values.len().min(room);
        if n != 0 {
            // SAFETY: `at + n <= self.n`, promised to `new`. `copy`, not
            // `copy_nonoverlapping`: `values` may lie in the same memory.
            unsafe { ptr::copy(values.as_ptr(), self.p.add(at), n) }
        }
    }
}

/// Room for one answer.
///
/// # Safety
/// The promise of this module, for one element at `p`.
pub(super) unsafe fn answer<'a, T: Copy>(p: *mut T, name: &'static str) -> Result<Output<'a, T>> {
    // SAFETY: as promised to this function.
    unsafe { Output::new(p, 1, name) }
}

/// `struct_size` of the caller's structure, within reason.
///
/// # Safety
/// The promise of this module, for a structure of any version at `p`.
unsafe fn struct_size<T>(p: *const T, name: &'static str) -> Result<usize> {
    // The size is read before the rest is known to be there: only its own range is checked.
    Span::new(p.cast::<u32>(), 1, name)?;
    if !p.addr().is_multiple_of(align_of::<T>()) {
        return Err(Error::Misaligned);
    }
    // SAFETY: not NULL and aligned by the checks above; every version begins with a `u32`.
    let size = unsafe { p.cast::<u32>().read() };
    if !(8..=STRUCT_MAX).contains(&size) || !size.is_multiple_of(4) {
        return Err(Error::BadStruct { name });
    }
    let size = size as usize;
    Span::new(p.cast::<u8>(), size, name)?;
    Ok(size)
}

/// The caller's structure: fields beyond an older, shorter one are zero;
/// fields of a newer, longer one are not read.
///
/// # Safety
/// The promise of this module, for a structure of any version at `p`.
pub(super) unsafe fn read_struct<T: Pod>(p: *const T, name: &'static str) -> Result<T> {
    // SAFETY: as promised to this function.
    let size = unsafe { struct_size(p, name) }?;
    let mut value = T::zeroed();
    let to = bytes_of_mut(&mut value);
    let n = size.min(to.len());
    // SAFETY: `n` bytes are readable at `p` (`struct_size`) and `to` is that long; `to` is our own.
    unsafe { ptr::copy_nonoverlapping(p.cast::<u8>(), to.as_mut_ptr(), n) }
    Ok(value)
}

/// As [`read_struct`]; all zeros where `p` is NULL.
///
/// # Safety
/// As [`read_struct`], unless NULL.
pub(super) unsafe fn read_struct_or_zeros<T: Pod>(p: *const T, name: &'static str) -> Result<T> {
    if p.is_null() {
        return Ok(T::zeroed());
    }
    // SAFETY: as promised to this function.
    unsafe { read_struct(p, name) }
}

/// Room for a structure of the caller's version.
pub(super) struct StructOut<'a, T> {
    p: *mut T,
    size: usize,
    life: PhantomData<&'a mut T>,
}

impl<T: Pod> StructOut<'_, T> {
    /// Room at `p`.
    ///
    /// # Safety
    /// The promise of this module, for a structure of any version at `p`.
    pub(super) unsafe fn new(p: *mut T, name: &'static str) -> Result<Self> {
        // SAFETY: as promised to this function.
        let size = unsafe { struct_size(p.cast_const(), name) }?;
        Ok(Self { p, size, life: PhantomData })
    }

    /// Writes the fields that the caller's version has; `struct_size` stays the caller's.
    pub(super) fn put(self, value: &T) {
        const SKIP: usize = size_of::<u32>();
        let from = bytes_of(value);
        let n = self.size.min(from.len());
        let Some(fields) = from.get(SKIP..n) else { return };
        // SAFETY: `n <= size` bytes are writable at `p` (`new`); `fields` begins `SKIP` bytes in.
        unsafe { ptr::copy(fields.as_ptr(), self.p.cast::<u8>().add(SKIP), fields.len()) }
    }
}

/// Room for an error, if the caller gave any.
pub(super) struct ErrorOut<'a>(Option<StructOut<'a, pagelm_error>>);

impl ErrorOut<'_> {
    /// Room at `p`, which may be NULL.
    ///
    /// # Safety
    /// The promise of this module, for a structure of any version at `p`.
    pub(super) unsafe fn new(p: *mut pagelm_error) -> Result<Self> {
        if p.is_null() {
            return Ok(Self(None));
        }
        // SAFETY: as promised to this function.
        unsafe { StructOut::new(p, "error") }.map(|room| Self(Some(room)))
    }

    /// The status of `result`; a failure is written out in full.
    pub(super) fn status(self, result: Result<i32>) -> i32 {
        if let (Err(error), Some(room)) = (result, self.0) {
            room.put(&full(&error));
        }
        status(result)
    }
}

/// The status of `result`.
pub(super) fn status(result: Result<i32>) -> i32 {
    result.unwrap_or_else(|error| error.code())
}

/// The C form of an error.
pub(super) fn full(error: &Error) -> pagelm_error {
    let mut c = <pagelm_error as bytemuck::Zeroable>::zeroed();
    c.code = error.code();
    c.offset = error.offset() as u64;
    let mut at = 0;
    error.write(&mut |text| at = append(&mut c.text, at, text.as_bytes()));
    c
}

/// Copies `text` into `to` from `at` on, the last place kept zero; the next free place.
/// The core's sentences are ASCII, so a cut cannot split a character.
pub(super) fn append(to: &mut [core::ffi::c_char], mut at: usize, text: &[u8]) -> usize {
    let last = to.len().saturating_sub(1);
    for (place, &byte) in to.iter_mut().take(last).skip(at).zip(text) {
        *place = byte as core::ffi::c_char;
        at += 1;
    }
    at
}

/// The first word of a live handle: a constant mixed with the handle's own
/// address, so that a handle which was moved, copied or overwritten is known.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Mark(u64);

impl Mark {
    /// Of a handle that is no more.
    pub(super) const DEAD: Self = Self(0);

    /// Of a live handle of the kind `magic` at `handle`.
    pub(super) fn alive<H>(magic: u64, handle: *const H) -> Self {
        Self(magic ^ handle.addr() as u64)
    }
}

/// An error unless a live handle of the kind `magic` is at `handle`.
///
/// # Safety
/// The promise of this module, for `size_of::<H>()` bytes; `H` holds a `Mark` at `offset`.
pub(super) unsafe fn check_alive<H>(
    handle: *const H,
    offset: usize,
    magic: u64,
    name: &'static str,
) -> Result<()> {
    Span::new(handle, 1, name)?;
    // SAFETY: the handle's bytes are readable by the promise, and `Span::new` checked the rest;
    // any eight bytes are a `Mark`.
    let mark = unsafe { handle.cast::<u8>().add(offset).cast::<Mark>().read() };
    if mark == Mark::alive(magic, handle) { Ok(()) } else { Err(Error::DeadHandle { name }) }
}

/// The caller's block, cut into the handle's place and the core's part.
///
/// The core's part starts at a multiple of 64 from the block's start.
pub(super) struct Block {
    p: *mut u8,
    size: usize,
}

/// Bytes in front of the core's part for a handle of type `H`.
pub(super) const fn head_size<H>() -> usize {
    size_of::<H>().next_multiple_of(crate::arena::ALIGN)
}

/// Bytes of a block for a handle of type `H` and `rest` bytes for the core.
pub(super) fn block_size<H>(rest: usize) -> Result<usize> {
    rest.checked_add(head_size::<H>()).ok_or(Error::TooLarge)
}

impl Block {
    /// The first `need` of `have` bytes at `mem`.
    pub(super) fn new<H>(mem: *mut core::ffi::c_void, have: usize, need: usize) -> Result<Self> {
        const { assert!(align_of::<H>() <= crate::arena::BLOCK_ALIGN) };
        let p = mem.cast::<u8>();
        if p.is_null() {
            return Err(Error::Null { name: &"mem" });
        }
        if !p.addr().is_multiple_of(crate::arena::BLOCK_ALIGN) {
            return Err(Error::Misaligned);
        }
        if have < need {
            return Err(Error::OutOfMemory { need });
        }
        Span::new(p, have, "mem")?;
        Ok(Self { p, size: need })
    }

    /// The range it takes up.
    pub(super) fn span(&self) -> Span {
        Span { start: self.p.addr(), len: self.size }
    }

    /// Where the handle goes.
    pub(super) fn handle<H>(&self) -> *mut H {
        self.p.cast::<H>()
    }

    /// Clears the block and gives the core's part of it.
    ///
    /// # Safety
    /// The promise of this module, for the block, for as long as `'a`; called once, and nothing
    /// else refers into the block.
    pub(super) unsafe fn clear<'a, H>(&self) -> &'a mut [u8] {
        let head = head_size::<H>().min(self.size);
        // SAFETY: `size` bytes are writable by the promise. Clearing makes fresh memory
        // initialised, and the handle's mark dead while it is being built.
        unsafe { ptr::write_bytes(self.p, 0, self.size) };
        // SAFETY: `head <= size`, initialised just now, ours alone by the promise.
        unsafe { slice::from_raw_parts_mut(self.p.add(head), self.size - head) }
    }
}

/// Does `work` and reports its failure through `error`, which may be NULL.
///
/// # Safety
/// The promise of this module, for a structure of any version at `error`.
pub(super) unsafe fn report(error: *mut pagelm_error, work: impl FnOnce() -> Result<i32>) -> i32 {
    // SAFETY: as promised to this function.
    match unsafe { ErrorOut::new(error) } {
        Ok(room) => room.status(work()),
        Err(bad) => bad.code(),
    }
}

/// The caller's elements, cleared, for the core to write.
///
/// # Safety
/// The promise of this module, for `n` elements at `p`, for as long as `'a`.
pub(super) unsafe fn cleared<'a, T: Pod>(
    p: *mut T,
    n: usize,
    name: &'static str,
) -> Result<&'a mut [T]> {
    Span::new(p, n, name)?;
    if n == 0 {
        return Ok(&mut []);
    }
    // SAFETY: not NULL, aligned and not wrapping by `Span::new`; writable by the promise.
    unsafe { ptr::write_bytes(p, 0, n) };
    // SAFETY: as above, and every element was initialised just now (`Pod`: zero is a value).
    Ok(unsafe { slice::from_raw_parts_mut(p, n) })
}

/// An error if `flags` holds bits that this build does not know.
pub(super) fn only(flags: u32, known: u32) -> Result<()> {
    if flags & !known == 0 { Ok(()) } else { Err(Error::BadParam { name: &"flags" }) }
}

/// An error if a buffer of `have` elements is too small for `need`.
pub(super) fn fits(need: usize, have: usize) -> Result<()> {
    if need <= have {
        return Ok(());
    }
    Err(Error::BufferTooSmall { need })
}
