//! The C functions about models.
#![allow(non_camel_case_types)]
#![allow(clippy::missing_safety_doc)] // one contract for all: see the module above

use crate::arena::BLOCK_ALIGN;
use crate::error::{Error, Result};
use crate::models::{self, Loader, Model, ModelInfo};
use bytemuck::bytes_of;
use core::ffi::{c_char, c_void};
use core::mem::{self, offset_of};
use core::slice;
use core::sync::atomic::{AtomicU32, Ordering};

use super::convert;
use super::guard::{self, Block, Guard, Mark, Span};
use super::types::{
    PAGELM_ABI_VERSION, PAGELM_MORE, PAGELM_OK, pagelm_error, pagelm_model_info, status_text,
};

/// The kind of a model's mark.
const MAGIC: u64 = u64::from_le_bytes(*b"plmodel!");

/// A model in the caller's memory. Many sessions may share it.
pub struct pagelm_model {
    mark: Mark,
    /// Which of all `init` calls made this handle.
    life: u32,
    mem: Span,
    file: File,
    state: State,
}

/// The caller's file.
#[derive(Clone, Copy)]
struct File {
    p: *mut u8,
    size: usize,
}

/// How far loading has come.
#[allow(clippy::large_enum_variant)] // one value per model, and no heap to put it on
enum State {
    /// Weights are still to come.
    Loading(Loader<'static>),
    /// Whole and bound.
    Ready(Model<'static>),
    /// Between the two; a handle that stays so is dead.
    Neither,
}

/// Counts the models made, so that a session can tell a new model at an old
/// address from its own.
static LIVES: AtomicU32 = AtomicU32::new(0);

/// A ready model and which life of its handle it is.
#[derive(Clone, Copy)]
pub(super) struct Ready {
    pub(super) model: &'static Model<'static>,
    pub(super) life: u32,
    pub(super) mem: Span,
}

/// The ready model at `handle`.
///
/// # Safety
/// The header's conventions. The `'static` is as true as the caller's promise
/// to keep the model's memory and file until its last session is used no more.
#[inline(never)]
pub(super) unsafe fn ready(g: &mut Guard, handle: *const pagelm_model) -> Option<Ready> {
    // SAFETY: the header's conventions.
    let it: &'static pagelm_model = unsafe { alive(g, handle) }?;
    g.apart(it.mem, &"model");
    g.apart(Span::of(it.file.p.addr(), it.file.size), &"model");
    if let State::Ready(model) = &it.state {
        return Some(Ready { model, life: it.life, mem: it.mem });
    }
    g.fail(Error::NotLoaded);
    None
}

/// The handle, which may still be loading.
///
/// # Safety
/// As [`ready`].
unsafe fn alive<'a>(g: &mut Guard, handle: *const pagelm_model) -> Option<&'a pagelm_model> {
    // SAFETY: the header's conventions; a `Mark` is at that offset.
    let alive = unsafe { g.alive(handle, offset_of!(pagelm_model, mark), MAGIC) };
    // SAFETY: the mark says that `init` put a handle here and that it was not moved or overwritten.
    alive.then(|| unsafe { &*handle })
}

impl pagelm_model {
    /// Takes in what has arrived: the first `available` bytes of the file.
    ///
    /// # Safety
    /// The header's conventions, for those bytes; once they are all there, for the model's life.
    unsafe fn advance(&mut self, available: usize) -> Result<i32> {
        let State::Loading(loader) = &mut self.state else {
            return Ok(PAGELM_OK);
        };
        // SAFETY: sound by `Place::new`; initialised by the header's conventions.
        if !loader.advance(unsafe { slice::from_raw_parts_mut(self.file.p, available) })? {
            return Ok(PAGELM_MORE);
        }
        let State::Loading(loader) = mem::replace(&mut self.state, State::Neither) else {
            return Err(Error::Internal);
        };
        // SAFETY: as above; all of the file has arrived, and from here on nobody else writes to it.
        let file = unsafe { slice::from_raw_parts_mut(self.file.p, self.file.size) };
        self.state = State::Ready(loader.finish(file)?);
        Ok(PAGELM_OK)
    }
}

/// Where a new model goes: its block, and its file apart from it.
struct Place {
    block: Block,
    file: File,
}

impl Place {
    /// Checks the file of an `init`, of which `available` bytes are there, and finds the model's place.
    ///
    /// # Safety
    /// The header's conventions.
    #[inline(never)]
    unsafe fn new<'a>(
        g: &mut Guard,
        mem: (*mut c_void, usize),
        file: File,
        available: usize,
    ) -> Result<(Self, &'a [u8])> {
        g.note(file.p.addr(), Some(file.size), BLOCK_ALIGN, &"file");
        if available > file.size {
            g.fail(Error::BadParam { name: &"available" });
        }
        g.check()?;
        let there: &[u8] = match available {
            0 => &[],
            // SAFETY: sound as a part of the file; initialised by the header's conventions.
            _ => unsafe { slice::from_raw_parts(file.p, available) },
        };
        let need = mem_size(&models::probe(there)?)?;
        let block = g.block(mem.0, mem.1, need)?;
        Ok((Self { block, file }, there))
    }

    /// Writes the handle, still dead.
    ///
    /// # Safety
    /// The header's conventions, for the block; `state` was made in the block's other part.
    unsafe fn put(&self, state: State) -> *mut pagelm_model {
        let life = LIVES.fetch_add(1, Ordering::Relaxed);
        let handle = self.block.handle::<pagelm_model>();
        let value =
            pagelm_model { mark: Mark::DEAD, life, mem: self.block.span, file: self.file, state };
        // SAFETY: `Guard::block` checked size and alignment; writable by the header's conventions.
        unsafe { handle.write(value) };
        handle
    }
}

/// Bytes of a model's block.
fn mem_size(info: &ModelInfo) -> Result<usize> {
    guard::block_size::<pagelm_model>(info.model_mem_size)
}

/// The version of the library: compare its major with that of PAGELM_ABI_VERSION.
#[unsafe(no_mangle)]
pub extern "C" fn pagelm_abi_version() -> u32 {
    PAGELM_ABI_VERSION
}

/// A status in words: its constant's name, in small letters and without PAGELM_ERROR_ ("bad magic");
/// "unknown" for a number that is no status. Ended by a zero byte, never NULL, never to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn pagelm_status_text(status: i32) -> *const c_char {
    status_text(status)
}

/// Reads a model file's header: what the model is, how long the file is, how much memory it needs.
/// `bytes`: the file's first `len` bytes, any alignment. PAGELM_MORE: the header is longer than
/// that and nothing is written; try again with more of the file. The weights are not looked at.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_model_probe(
    bytes: *const u8,
    len: usize,
    info: *mut pagelm_model_info,
    error: *mut pagelm_error,
) -> i32 {
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (bytes, mut out) = unsafe {
        g.report_to(error);
        (g.input(bytes, len, &"bytes"), g.record(info, &"info"))
    };
    let mut probe = || {
        g.check()?;
        let found = models::probe(bytes)?;
        out.put(bytes_of(&convert::model_info(&found, mem_size(&found)?)));
        Ok(PAGELM_OK)
    };
    let result = more(probe());
    g.status(result)
}

/// A header that is not complete asks for more of it.
pub(super) fn more(result: Result<i32>) -> Result<i32> {
    match result {
        Err(Error::Truncated { .. }) => Ok(PAGELM_MORE),
        other => other,
    }
}

/// Makes a model in `mem` (`model_mem_size` bytes of `pagelm_model_probe`) from a GGUF file in
/// writable memory, whose weights it rearranges in place. `file_size` is the length of the whole
/// file and of the memory at `file`; its first `available` bytes are there, the whole header among
/// them. PAGELM_OK: the model is ready. PAGELM_MORE: `*model` is set; go on with
/// `pagelm_model_advance`. After an error `file` may be rearranged in part: read it anew.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_model_init(
    mem: *mut c_void,
    mem_size: usize,
    file: *mut u8,
    file_size: usize,
    available: usize,
    model: *mut *mut pagelm_model,
    error: *mut pagelm_error,
) -> i32 {
    let file = File { p: file, size: file_size };
    // SAFETY: the header's conventions.
    unsafe { init((mem, mem_size), file, Some(available), model, error) }
}

/// Makes a model of what is there of a file that may be written to, or of a
/// packed file that is all there and may not.
///
/// # Safety
/// The header's conventions.
#[inline(never)]
unsafe fn init(
    mem: (*mut c_void, usize),
    file: File,
    available: Option<usize>,
    model: *mut *mut pagelm_model,
    error: *mut pagelm_error,
) -> i32 {
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let out = unsafe {
        g.report_to(error);
        g.answer(model, &"model")
    };
    let there = available.unwrap_or(file.size);
    let init = || {
        // SAFETY: the header's conventions, of a packed file for the model's life; the bytes of
        // another are used no more once they are packed.
        let (place, head) = unsafe { Place::new(&mut g, mem, file, there) }?;
        // SAFETY: the header's conventions; the block is new and apart from the file.
        let rest = unsafe { place.block.clear(size_of::<pagelm_model>()) };
        let state = match available {
            Some(_) => State::Loading(Loader::new(head, file.size, rest)?),
            None => State::Ready(Model::from_packed(head, rest)?),
        };
        // SAFETY: the loader or model was made in the same block.
        let handle = unsafe { place.put(state) };
        // SAFETY: `put` wrote a handle there just now, and nobody else knows it yet.
        let status = unsafe { revive(handle, there) }?;
        out.put(handle);
        Ok(status)
    };
    let result = init();
    g.status(result)
}

/// Goes on with a streamed load: the first `available` bytes of the file are there now. PAGELM_MORE
/// until the file is whole, then PAGELM_OK: the model is ready. After an error of the file the
/// model is dead.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_model_advance(
    model: *mut pagelm_model,
    available: usize,
    error: *mut pagelm_error,
) -> i32 {
    let mut g = Guard::new();
    // SAFETY: the header's conventions; the reference ends before the handle is borrowed anew.
    let it = unsafe {
        g.report_to(error);
        alive(&mut g, model)
    };
    let Some((size, loading)) = it.map(|it| (it.file.size, matches!(it.state, State::Loading(_))))
    else {
        return g.stopped();
    };
    if available > size {
        g.fail(Error::BadParam { name: &"available" });
    }
    let result = match g.check() {
        // Sessions may hold references to a ready model: it must not be borrowed for writing.
        Ok(()) if !loading => Ok(PAGELM_OK),
        // SAFETY: alive and loading, so no session refers to it.
        Ok(()) => unsafe { revive(model, available) },
        Err(fault) => Err(fault),
    };
    g.status(result)
}

/// Advances the model at `handle`, which lives on only if that goes well.
///
/// # Safety
/// The header's conventions; a handle is there, alive or new, that nothing refers to.
#[inline(never)]
unsafe fn revive(handle: *mut pagelm_model, available: usize) -> Result<i32> {
    // SAFETY: promised to this function.
    let it = unsafe { &mut *handle };
    it.mark = Mark::DEAD;
    // SAFETY: the header's conventions.
    let status = unsafe { it.advance(available) }?;
    it.mark = Mark::alive(MAGIC, handle);
    Ok(status)
}

/// Makes a model in `mem` from a packed file (docs/FORMAT.md), which may lie in read-only memory:
/// nothing is copied or changed. The whole file must be there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_model_init_packed(
    mem: *mut c_void,
    mem_size: usize,
    file: *const u8,
    file_size: usize,
    model: *mut *mut pagelm_model,
    error: *mut pagelm_error,
) -> i32 {
    // Made writable in type only: a ready model's file is never written to.
    let file = File { p: file.cast_mut(), size: file_size };
    // SAFETY: the header's conventions.
    unsafe { init((mem, mem_size), file, None, model, error) }
}

/// What `pagelm_model_probe` tells, of a model that is ready.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_model_get_info(
    model: *const pagelm_model,
    info: *mut pagelm_model_info,
) -> i32 {
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (it, mut out) = unsafe { (ready(&mut g, model), g.record(info, &"info")) };
    let (Some(it), Ok(())) = (it, g.check()) else {
        return g.stopped();
    };
    out.put(bytes_of(&convert::model_info(it.model.info(), it.mem.len())));
    PAGELM_OK
}
