//! The C functions about models and text.
#![allow(non_camel_case_types)]
#![allow(clippy::missing_safety_doc)] // one contract for all: see the module above

use crate::arena::BLOCK_ALIGN;
use crate::error::{Error, Result};
use crate::models::{self, Loader, Model, ModelInfo};
use crate::tokenizer::Tokenizer;
use core::ffi::{CStr, c_char, c_void};
use core::mem::{self, offset_of};
use core::sync::atomic::{AtomicU32, Ordering};

use super::convert;
use super::guard::{self, Block, Mark, Output, Span, StructOut};
use super::types::{
    PAGELM_ABI_VERSION, PAGELM_MORE, PAGELM_OK, PAGELM_PARSE_SPECIAL, STATUS, UNKNOWN_STATUS,
    pagelm_error, pagelm_model_info,
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
    span: Span,
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

/// A ready model and what a session must know of it.
pub(super) struct Ready {
    pub(super) model: &'static Model<'static>,
    pub(super) life: u32,
    pub(super) mem: Span,
    pub(super) file: Span,
}

/// The ready model at `handle`.
///
/// # Safety
/// The header's conventions. The `'static` is as true as the caller's promise
/// to keep the model's memory and file until its last session is used no more.
pub(super) unsafe fn ready(handle: *const pagelm_model) -> Result<Ready> {
    // SAFETY: the header's conventions.
    let it: &'static pagelm_model = unsafe { alive(handle) }?;
    match &it.state {
        State::Ready(model) => Ok(Ready { model, life: it.life, mem: it.mem, file: it.file.span }),
        State::Loading(_) => Err(Error::NotLoaded),
        State::Neither => Err(Error::DeadHandle { name: &"model" }),
    }
}

/// The handle, which may still be loading.
///
/// # Safety
/// As [`ready`].
unsafe fn alive<'a>(handle: *const pagelm_model) -> Result<&'a pagelm_model> {
    // SAFETY: the header's conventions; a `Mark` is at that offset.
    unsafe { guard::check_alive(handle, offset_of!(pagelm_model, mark), MAGIC, "model") }?;
    // SAFETY: the mark says that `init` put a handle here and that it was not moved or overwritten.
    Ok(unsafe { &*handle })
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
        // SAFETY: the header's conventions; the reference ends with this statement.
        if !loader.advance(unsafe { guard::input_mut(self.file.p, available, "file") }?)? {
            return Ok(PAGELM_MORE);
        }
        let State::Loading(loader) = mem::replace(&mut self.state, State::Neither) else {
            return Err(Error::Internal);
        };
        // SAFETY: all of the file has arrived, and from here on nobody else writes to it.
        let file = unsafe { guard::input_mut(self.file.p, self.file.size, "file") }?;
        self.state = State::Ready(loader.finish(file)?);
        Ok(PAGELM_OK)
    }
}

/// Where a new model goes: its block and its file, apart from each other.
struct Place {
    block: Block,
    file: File,
}

impl Place {
    fn new(
        mem: *mut c_void,
        mem_size: usize,
        file: *mut u8,
        file_size: usize,
        info: &ModelInfo,
    ) -> Result<Self> {
        let need = guard::block_size::<pagelm_model>(info.model_mem_size)?;
        let block = Block::new::<pagelm_model>(mem, mem_size, need)?;
        let span = Span::new(file, file_size, "file")?;
        if !file.addr().is_multiple_of(BLOCK_ALIGN) {
            return Err(Error::Misaligned);
        }
        block.span().apart(span, "mem")?;
        Ok(Self { block, file: File { p: file, size: file_size, span } })
    }

    /// Writes the handle, still dead.
    ///
    /// # Safety
    /// The header's conventions, for the block; `state` was made in the block's other part.
    unsafe fn put(&self, state: State) -> *mut pagelm_model {
        let life = LIVES.fetch_add(1, Ordering::Relaxed);
        let handle = self.block.handle::<pagelm_model>();
        let value =
            pagelm_model { mark: Mark::DEAD, life, mem: self.block.span(), file: self.file, state };
        // SAFETY: `Block::new` checked size and alignment; writable by the header's conventions.
        unsafe { handle.write(value) };
        handle
    }
}

/// The version of the library: compare its major with that of PAGELM_ABI_VERSION.
#[unsafe(no_mangle)]
pub extern "C" fn pagelm_abi_version() -> u32 {
    PAGELM_ABI_VERSION
}

/// One sentence in English for a status, ended by a zero byte; never NULL, never to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn pagelm_status_text(status: i32) -> *const c_char {
    status_words(status).1.as_ptr()
}

/// The name of a status: its constant's, without PAGELM_ and ERROR_; "UNKNOWN" for another number.
/// As lasting as `pagelm_status_text`.
#[unsafe(no_mangle)]
pub extern "C" fn pagelm_status_name(status: i32) -> *const c_char {
    status_words(status).0.as_ptr()
}

/// The name and the sentence of a status.
fn status_words(status: i32) -> (&'static CStr, &'static CStr) {
    let known = STATUS.iter().find(|(number, ..)| *number == status);
    known.map_or(UNKNOWN_STATUS, |&(_, name, text)| (name, text))
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
    let probe = || {
        // SAFETY: the header's conventions.
        let (bytes, info) =
            unsafe { (guard::input(bytes, len, "bytes")?, StructOut::new(info, "info")?) };
        match models::probe(bytes) {
            Ok(found) => {
                let mem_size = guard::block_size::<pagelm_model>(found.model_mem_size)?;
                info.put(&convert::model_info(&found, mem_size));
            }
            Err(Error::Truncated { .. }) => return Ok(PAGELM_MORE),
            Err(error) => return Err(error),
        }
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { guard::report(error, probe) }
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
    let init = || {
        if available > file_size {
            return Err(Error::BadParam { name: &"available" });
        }
        // SAFETY: the header's conventions; `head` is used no more once the weights are touched.
        let (head, mut out) =
            unsafe { (guard::input(file, available, "file")?, guard::answer(model, "model")?) };
        let place = Place::new(mem, mem_size, file, file_size, &models::probe(head)?)?;
        // SAFETY: the header's conventions; the block is new and apart from the file.
        let rest = unsafe { place.block.clear::<pagelm_model>() };
        let loader = Loader::new(head, file_size, rest)?;
        // SAFETY: the loader was made in the same block.
        let handle = unsafe { place.put(State::Loading(loader)) };
        // SAFETY: `put` wrote a handle there just now, and nobody else knows it yet.
        let status = unsafe { revive(handle, available) }?;
        out.put(0, handle);
        Ok(status)
    };
    // SAFETY: the header's conventions.
    unsafe { guard::report(error, init) }
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
    let advance = || {
        // SAFETY: the header's conventions; the reference ends before the next step.
        let (loading, size) = unsafe { alive(model) }
            .map(|it| (matches!(it.state, State::Loading(_)), it.file.size))?;
        if available > size {
            return Err(Error::BadParam { name: &"available" });
        }
        if !loading {
            // Sessions may hold references to a ready model: it must not be borrowed for writing.
            return Ok(PAGELM_OK);
        }
        // SAFETY: alive and loading, so no session refers to it.
        unsafe { revive(model, available) }
    };
    // SAFETY: the header's conventions.
    unsafe { guard::report(error, advance) }
}

/// Advances the model at `handle`, which lives on only if that goes well.
///
/// # Safety
/// The header's conventions; a handle is there, alive or new, that nothing refers to.
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
    let init = || {
        // SAFETY: the header's conventions, for the model's life.
        let (bytes, mut out) =
            unsafe { (guard::input(file, file_size, "file")?, guard::answer(model, "model")?) };
        let place = Place::new(mem, mem_size, file.cast_mut(), file_size, &models::probe(bytes)?)?;
        // SAFETY: the header's conventions; the block is new and apart from the file.
        let rest = unsafe { place.block.clear::<pagelm_model>() };
        let bound = Model::from_packed(bytes, rest)?;
        // SAFETY: the model was made in the same block. A ready model's file is never written to.
        let handle = unsafe { place.put(State::Ready(bound)) };
        // SAFETY: `put` wrote a handle there just now, and nobody else knows it yet.
        unsafe { (*handle).mark = Mark::alive(MAGIC, handle) };
        out.put(0, handle);
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { guard::report(error, init) }
}

/// What `pagelm_model_probe` tells, of a model that is ready.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_model_get_info(
    model: *const pagelm_model,
    info: *mut pagelm_model_info,
) -> i32 {
    let get = || {
        // SAFETY: the header's conventions.
        let (it, info) = unsafe { (ready(model)?, StructOut::new(info, "info")?) };
        info.put(&convert::model_info(it.model.info(), it.mem.len()));
        Ok(PAGELM_OK)
    };
    guard::status(get())
}

/// Bytes of working memory that `pagelm_model_tokenize` needs for a text of `text_len` bytes.
#[unsafe(no_mangle)]
pub extern "C" fn pagelm_tokenize_work_size(text_len: usize) -> usize {
    Tokenizer::work_size(text_len).saturating_mul(size_of::<u32>())
}

/// Turns a text into token ids. `work`: `pagelm_tokenize_work_size(len)` bytes at a multiple of 4,
/// free again afterwards. `flags`: PAGELM_PARSE_SPECIAL or 0. `ids` has room for `cap` of them,
/// `*n` becomes their number. With `ids` NULL and `cap` 0 they are only counted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_model_tokenize(
    model: *const pagelm_model,
    text: *const u8,
    len: usize,
    flags: u32,
    work: *mut c_void,
    work_size: usize,
    ids: *mut u32,
    cap: usize,
    n: *mut usize,
) -> i32 {
    let tokenize = || {
        guard::only(flags, PAGELM_PARSE_SPECIAL)?;
        let special = flags & PAGELM_PARSE_SPECIAL != 0;
        // SAFETY: the header's conventions.
        let (it, bytes, mut n) =
            unsafe { (ready(model)?, guard::input(text, len, "text")?, guard::answer(n, "n")?) };
        // SAFETY: the header's conventions.
        let mut out = unsafe { Output::new(ids, cap, "ids") }?;
        // SAFETY: the header's conventions.
        let work =
            unsafe { work_area(work, work_size, len, Span::new(text, len, "text")?, out.span()) }?;
        let tokenizer = it.model.tokenizer();
        let mut count = 0usize;
        tokenizer.encode(bytes, special, work, &mut |_| {
            count += 1;
            Ok(())
        })?;
        if !ids.is_null() || cap != 0 {
            guard::fits(count, out.room())?;
            let mut i = 0;
            tokenizer.encode(bytes, special, work, &mut |id| {
                out.put(i, id);
                i += 1;
                Ok(())
            })?;
        }
        n.put(0, count);
        Ok(PAGELM_OK)
    };
    guard::status(tokenize())
}

/// The tokenizer's working memory, apart from the text and from the room for the ids.
///
/// # Safety
/// The header's conventions, for `size` bytes at `work`.
unsafe fn work_area<'a>(
    work: *mut c_void,
    size: usize,
    len: usize,
    text: Span,
    ids: Span,
) -> Result<&'a mut [u32]> {
    let need = Tokenizer::work_size(len);
    guard::fits(pagelm_tokenize_work_size(len), size)?;
    let span = Span::new(work.cast::<u32>(), need, "work")?;
    span.apart(text, "work")?;
    span.apart(ids, "work")?;
    text.apart(ids, "ids")?;
    // SAFETY: the header's conventions; at least `need` elements by `guard::fits`.
    unsafe { guard::cleared(work.cast::<u32>(), need, "work") }
}

/// Turns token ids into text. `text` has room for `cap` bytes, `*len` becomes their number. With
/// `text` NULL and `cap` 0 they are only counted. Control tokens have no text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_model_detokenize(
    model: *const pagelm_model,
    ids: *const u32,
    n: usize,
    text: *mut u8,
    cap: usize,
    len: *mut usize,
) -> i32 {
    let detokenize = || {
        // SAFETY: the header's conventions.
        let (it, list, mut len) =
            unsafe { (ready(model)?, guard::input(ids, n, "ids")?, guard::answer(len, "len")?) };
        // SAFETY: the header's conventions.
        let mut out = unsafe { Output::new(text, cap, "text") }?;
        out.span().apart(Span::new(ids, n, "ids")?, "text")?;
        let tokenizer = it.model.tokenizer();
        let mut size = 0usize;
        for &id in list {
            tokenizer.decode(id, &mut |bytes| size += bytes.len())?;
        }
        if !text.is_null() || cap != 0 {
            guard::fits(size, out.room())?;
            let mut at = 0;
            for &id in list {
                tokenizer.decode(id, &mut |bytes| {
                    out.put_all(at, bytes);
                    at += bytes.len();
                })?;
            }
        }
        len.put(0, size);
        Ok(PAGELM_OK)
    };
    guard::status(detokenize())
}
