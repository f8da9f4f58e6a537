//! The border: raw pointers come in, checked values go on.
//!
//! A [`Guard`] looks at the arguments of one call, one after the other, and
//! keeps the first fault: NULL, misalignment, areas that wrap around (on wasm
//! also areas outside of the memory) or share bytes, a `struct_size` without
//! sense, a handle that is not alive. What no program can check stays the
//! caller's promise, the same for every function of the header:
//!
//! **The promise.** A pointer that is not NULL points to memory of the stated
//! length that the caller may read (and write, where it is not `const`) for
//! the call's duration, and that no other thread changes meanwhile; memory
//! and files that an `init` was given stay so until the handle is used no more.
//!
//! Nothing here is inlined that need not be: some forty functions call it.

use crate::arena::{ALIGN, BLOCK_ALIGN};
use crate::error::{Error, Result, Word};
use bytemuck::{Pod, bytes_of, bytes_of_mut};
#[cfg(feature = "messages")]
use core::ffi::c_char;
use core::ffi::c_void;
use core::marker::PhantomData;
use core::{ptr, slice};

use super::types::pagelm_error;

/// The longest structure that a later version of the header may have.
const STRUCT_MAX: u32 = 4096;

/// Areas of memory that one call can have to do with.
const AREAS: usize = 8;

/// A range of addresses that does not wrap around.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    start: usize,
    len: usize,
}

impl Span {
    /// Of an area that [`Guard::note`] found sound.
    pub(super) fn of(start: usize, len: usize) -> Self {
        Self { start, len }
    }

    /// Bytes in it.
    pub(super) fn len(self) -> usize {
        self.len
    }

    fn is_apart(self, other: Self) -> bool {
        let empty = self.len == 0 || other.len == 0;
        let before = self.start + self.len <= other.start;
        empty || before || other.start + other.len <= self.start
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

/// The arguments of a call, as far as they were looked at.
#[derive(Default)]
pub(super) struct Guard {
    fault: Option<Error>,
    /// Where the full story of a fault goes; a size of 0 is nowhere.
    report: Record<'static>,
    areas: [Span; AREAS],
    n_areas: usize,
}

impl Guard {
    /// Of a call whose arguments were not looked at yet.
    #[inline(never)]
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Keeps a fault, unless there was one before.
    #[inline(never)]
    pub(super) fn fail(&mut self, fault: Error) {
        self.fault.get_or_insert(fault);
    }

    /// The fault, if there was one.
    pub(super) fn check(&self) -> Result<()> {
        self.fault.map_or(Ok(()), Err)
    }

    /// The status of a call that did not come to its work, or of its work.
    #[inline(never)]
    pub(super) fn status(&mut self, result: Result<i32>) -> i32 {
        match result {
            Ok(status) => status,
            Err(error) => {
                self.report.put(bytes_of(&full(Some(&error))));
                error.code()
            }
        }
    }

    /// The status of the fault.
    #[inline(never)]
    pub(super) fn stopped(&mut self) -> i32 {
        let fault = self.fault.unwrap_or(Error::Internal);
        self.status(Err(fault))
    }

    /// Notes the `n` elements at `p`; how many are sound: all of them or, after a fault, none.
    /// NULL is sound if `n` is 0.
    fn many<T>(&mut self, p: *const T, n: usize, name: Word) -> usize {
        let size = (size_of::<T>(), align_of::<T>());
        if self.note(p.addr(), n.checked_mul(size.0), size.1, name) { n } else { 0 }
    }

    /// Notes `len` bytes at `start` (`None`: too many to count); whether they are sound.
    #[inline(never)]
    pub(super) fn note(
        &mut self,
        start: usize,
        len: Option<usize>,
        align: usize,
        name: Word,
    ) -> bool {
        let len = len.unwrap_or(usize::MAX);
        self.sound(start, len, align, name) && self.apart(Span { start, len }, name)
    }

    /// Whether there can be `len` bytes at `start`.
    #[inline(never)]
    fn sound(&mut self, start: usize, len: usize, align: usize, name: Word) -> bool {
        let ends = start.checked_add(len).is_some_and(|end| end as u64 <= memory_end());
        let fault = match start {
            0 if len == 0 => return true,
            0 => Error::Null { name },
            _ if start & (align - 1) != 0 => Error::Misaligned,
            _ if !ends || len > isize::MAX as usize => Error::BadRange { name },
            _ => return true,
        };
        self.fail(fault);
        false
    }

    /// Notes memory that the call has to do with: all of it must be apart.
    #[inline(never)]
    pub(super) fn apart(&mut self, span: Span, name: Word) -> bool {
        let apart = self.areas.iter().all(|other| span.is_apart(*other));
        let slot = self.areas.get_mut(self.n_areas);
        self.n_areas += 1;
        match slot {
            Some(slot) if apart => *slot = span,
            _ => self.fail(Error::Overlap { name }),
        }
        apart
    }

    /// The caller's elements, to read; none after a fault.
    ///
    /// # Safety
    /// The promise of this module, for `n` elements at `p`, for as long as `'a`.
    pub(super) unsafe fn input<'a, T: Pod>(
        &mut self,
        p: *const T,
        n: usize,
        name: Word,
    ) -> &'a [T] {
        let n = self.many(p, n, name);
        if n == 0 {
            return &[];
        }
        // SAFETY: not NULL, aligned and not wrapping by `many`; readable and unchanged by the promise.
        unsafe { slice::from_raw_parts(p, n) }
    }

    /// Room for `n` answers; none after a fault.
    ///
    /// # Safety
    /// The promise of this module, for `n` elements at `p`.
    pub(super) unsafe fn output<'a, T: Pod>(
        &mut self,
        p: *mut T,
        n: usize,
        name: Word,
    ) -> Output<'a, T> {
        let n = self.many(p.cast_const(), n, name);
        Output { p, n, life: PhantomData }
    }

    /// Room for one answer.
    ///
    /// # Safety
    /// The promise of this module, for one element at `p`.
    pub(super) unsafe fn answer<'a, T>(&mut self, p: *mut T, name: Word) -> Answer<'a, T> {
        let p = self.one(p.cast(), size_of::<T>(), align_of::<T>(), name).cast();
        Answer { p, life: PhantomData }
    }

    /// `p`, or NULL after a fault.
    #[inline(never)]
    fn one(&mut self, p: *mut u8, size: usize, align: usize, name: Word) -> *mut u8 {
        if self.note(p.addr(), Some(size), align, name) { p } else { ptr::null_mut() }
    }

    /// The size that the structure at `p` states; 0 after a fault.
    ///
    /// # Safety
    /// The promise of this module, for a structure of any version at `p`.
    #[inline(never)]
    unsafe fn record_size(&mut self, p: *mut u8, align: usize, name: Word) -> usize {
        if !self.sound(p.addr(), size_of::<u32>(), align, name) {
            return 0;
        }
        // SAFETY: not NULL and aligned to 4 at least by `sound`; every version begins with a `u32`.
        let size = unsafe { p.cast::<u32>().read() };
        if !(8..=STRUCT_MAX).contains(&size) || size % 4 != 0 {
            self.fail(Error::BadStruct { name });
            return 0;
        }
        let size = size as usize;
        if self.note(p.addr(), Some(size), align, name) { size } else { 0 }
    }

    /// The caller's structure: fields beyond an older, shorter one are zero, fields of a newer,
    /// longer one are not read, and NULL is all zeros.
    ///
    /// # Safety
    /// The promise of this module, for a structure of any version at `p`.
    pub(super) unsafe fn read_record<T: Pod>(&mut self, p: *const T, name: Word) -> T {
        let mut value = T::zeroed();
        if !p.is_null() {
            // SAFETY: as promised to this function.
            let size = unsafe { self.record_size(p.cast_mut().cast(), align_of::<T>(), name) };
            let to = bytes_of_mut(&mut value);
            // SAFETY: that many bytes are readable at `p` (`record_size`), and `to` is our own.
            unsafe { ptr::copy_nonoverlapping(p.cast::<u8>(), to.as_mut_ptr(), size.min(to.len())) }
        }
        value
    }

    /// Room for a structure of the caller's version.
    ///
    /// # Safety
    /// The promise of this module, for a structure of any version at `p`.
    pub(super) unsafe fn record<'a, T: Pod>(&mut self, p: *mut T, name: Word) -> Record<'a> {
        let p = p.cast::<u8>();
        // SAFETY: as promised to this function.
        let size = unsafe { self.record_size(p, align_of::<T>(), name) };
        Record { p, size, life: PhantomData }
    }

    /// Reports the call's failure to `error`, which may be NULL.
    ///
    /// # Safety
    /// The promise of this module, for a structure of any version at `error`.
    pub(super) unsafe fn report_to(&mut self, error: *mut pagelm_error) {
        if !error.is_null() {
            // SAFETY: as promised to this function; the guard lives no longer than the call.
            self.report = unsafe { self.record(error, &"error") };
        }
    }

    /// A fault if `flags` holds bits that this build does not know.
    pub(super) fn flags(&mut self, flags: u32, known: u32) {
        if flags & !known != 0 {
            self.fail(Error::BadParam { name: &"flags" });
        }
    }

    /// Whether a live handle of the kind `magic` is at `handle`, where a [`Mark`] is at `offset`.
    ///
    /// # Safety
    /// The promise of this module, for an `H`.
    pub(super) unsafe fn alive<H>(&mut self, handle: *const H, offset: usize, magic: u64) -> bool {
        const { assert!(align_of::<H>() <= BLOCK_ALIGN) };
        // SAFETY: as promised to this function.
        unsafe { self.marked(handle.cast(), size_of::<H>(), offset, magic) }
    }

    #[inline(never)]
    unsafe fn marked(&mut self, handle: *const u8, size: usize, offset: usize, magic: u64) -> bool {
        if !self.sound(handle.addr(), size, BLOCK_ALIGN, &"handle") {
            return false;
        }
        // SAFETY: not NULL and aligned by `sound`, readable by the promise; any bytes are a `Mark`.
        let mark = unsafe { handle.add(offset).cast::<Mark>().read() };
        if mark != Mark::alive(magic, handle) {
            self.fail(Error::DeadHandle { name: &"handle" });
            return false;
        }
        true
    }
}

/// Room for answers in the caller's memory, which may be uninitialised.
pub(super) struct Output<'a, T> {
    p: *mut T,
    n: usize,
    life: PhantomData<&'a mut [T]>,
}

impl<'a, T: Pod> Output<'a, T> {
    /// Elements there is room for.
    pub(super) fn room(&self) -> usize {
        self.n
    }

    /// Writes `values` from element `at` on; what does not fit is left out.
    pub(super) fn put(&mut self, at: usize, values: &[T]) {
        let n = values.len().min(self.n.saturating_sub(at));
        if n != 0 {
            // SAFETY: `at + n` elements are in the room, which is aligned; it is apart from `values`,
            // which are in an object's memory or our own.
            unsafe { ptr::copy_nonoverlapping(values.as_ptr(), self.p.add(at), n) }
        }
    }

    /// The first `n` elements of the room, cleared.
    pub(super) fn cleared(self, n: usize) -> Result<&'a mut [T]> {
        fits(n, self.n)?;
        if n == 0 {
            return Ok(&mut []);
        }
        // SAFETY: that many elements are in the room, and any bytes are a `Pod`.
        unsafe { ptr::write_bytes(self.p, 0, n) };
        // SAFETY: as above; initialised just now, and ours alone by the promise.
        Ok(unsafe { slice::from_raw_parts_mut(self.p, n) })
    }
}

/// An error if a buffer of `have` elements is too small for `need`.
pub(super) fn fits(need: usize, have: usize) -> Result<()> {
    if need <= have { Ok(()) } else { Err(Error::BufferTooSmall { need }) }
}

/// Room for one answer; none after a fault.
pub(super) struct Answer<'a, T> {
    p: *mut T,
    life: PhantomData<&'a mut T>,
}

impl<T> Answer<'_, T> {
    /// Writes the answer.
    pub(super) fn put(self, value: T) {
        if !self.p.is_null() {
            // SAFETY: not NULL, so `Guard::answer` found it sound; writable by the promise.
            unsafe { self.p.write(value) }
        }
    }
}

/// Room for a structure of the caller's version.
#[derive(Default)]
pub(super) struct Record<'a> {
    p: *mut u8,
    /// 0 after a fault.
    size: usize,
    life: PhantomData<&'a mut u8>,
}

impl Record<'_> {
    /// Writes the fields that the caller's version has; `struct_size` stays the caller's.
    #[inline(never)]
    pub(super) fn put(&mut self, from: &[u8]) {
        const SKIP: usize = size_of::<u32>();
        let Some(fields) = from.get(SKIP..self.size.min(from.len())) else {
            return;
        };
        // SAFETY: at most `size` bytes are written at `p`, `SKIP` of them left out; our own bytes
        // are not the caller's.
        unsafe { ptr::copy_nonoverlapping(fields.as_ptr(), self.p.add(SKIP), fields.len()) }
    }
}

/// The C form of an error, or of none.
#[inline(never)]
pub(super) fn full(error: Option<&Error>) -> pagelm_error {
    let mut c = <pagelm_error as bytemuck::Zeroable>::zeroed();
    if let Some(error) = error {
        c.code = error.code();
        c.offset = error.offset() as u64;
        #[cfg(feature = "messages")]
        words(&mut c, error);
    }
    c
}

/// The sentence.
#[cfg(feature = "messages")]
fn words(c: &mut pagelm_error, error: &Error) {
    let last = c.text.len() - 1;
    // The core's sentences are ASCII: a cut does not split a character.
    let mut free = c.text.iter_mut().take(last);
    error.write(&mut |text| {
        // This way around: at a text's end no free place has been taken yet.
        for (byte, place) in text.bytes().zip(free.by_ref()) {
            *place = byte as c_char;
        }
    });
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

/// Bytes of a block for a handle of type `H` and `rest` bytes for the core,
/// which begin at a multiple of 64 from the block's start.
pub(super) fn block_size<H>(rest: usize) -> Result<usize> {
    rest.checked_add(size_of::<H>().next_multiple_of(ALIGN)).ok_or(Error::TooLarge)
}

/// The caller's block, to be cut into the handle's place and the core's part.
pub(super) struct Block {
    pub(super) span: Span,
    p: *mut u8,
}

impl Guard {
    /// The first `need` of `have` bytes at `mem`.
    #[inline(never)]
    pub(super) fn block(&mut self, mem: *mut c_void, have: usize, need: usize) -> Result<Block> {
        let span = Span { start: mem.addr(), len: need };
        if self.sound(span.start, have.max(1), BLOCK_ALIGN, &"mem") {
            if have < need {
                self.fail(Error::OutOfMemory { need });
            } else {
                self.apart(span, &"mem");
            }
        }
        self.check()?;
        Ok(Block { span, p: mem.cast() })
    }
}

impl Block {
    /// Where the handle goes.
    pub(super) fn handle<H>(&self) -> *mut H {
        const { assert!(align_of::<H>() <= BLOCK_ALIGN) };
        self.p.cast()
    }

    /// Clears the block and gives the core's part of it, behind `head` bytes.
    ///
    /// # Safety
    /// The promise of this module, for the block, for as long as `'a`; called once, and nothing
    /// else refers into the block.
    #[inline(never)]
    pub(super) unsafe fn clear<'a>(&self, head: usize) -> &'a mut [u8] {
        let (size, head) = (self.span.len, head.next_multiple_of(ALIGN).min(self.span.len));
        // SAFETY: `size` bytes are writable by the promise. Clearing makes fresh memory
        // initialised, and the handle's mark dead while it is being built.
        unsafe { ptr::write_bytes(self.p, 0, size) };
        // SAFETY: `head <= size`, initialised just now, ours alone by the promise.
        unsafe { slice::from_raw_parts_mut(self.p.add(head), size - head) }
    }
}
