//! The C functions about sessions.
#![allow(non_camel_case_types)]
#![allow(clippy::missing_safety_doc)] // one contract for all: see the module above

use crate::error::{Error, Result};
use crate::session::{MAX_BIAS, Progress, Session, SessionParams, Step};
use core::ffi::c_void;
use core::mem::offset_of;

use super::convert;
use super::guard::{self, Block, Mark, Span, StructOut};
use super::model::{self, pagelm_model};
use super::types::{
    PAGELM_FINISHED, PAGELM_MORE, PAGELM_OK, PAGELM_PARSE_SPECIAL, PAGELM_TOKEN, pagelm_error,
    pagelm_sampling, pagelm_session_info, pagelm_session_params,
};

/// The kind of a session's mark.
const MAGIC: u64 = u64::from_le_bytes(*b"plsessn!");

/// One text being written, in the caller's memory.
pub struct pagelm_session {
    mark: Mark,
    /// The model, and which life of the handle at that address it is.
    model: *const pagelm_model,
    life: u32,
    mem: Span,
    /// The last failure of a call that changes the session.
    last: Option<Error>,
    session: Session<'static>,
}

/// Checks that a live session of a live model is at `handle`.
///
/// # Safety
/// The header's conventions.
unsafe fn check(handle: *const pagelm_session) -> Result<()> {
    // SAFETY: the header's conventions; a `Mark` is at that offset.
    unsafe { guard::check_alive(handle, offset_of!(pagelm_session, mark), MAGIC, "session") }?;
    // SAFETY: the mark says that `init` put a handle here and that it was not moved or overwritten.
    let (model, life) = unsafe { ((*handle).model, (*handle).life) };
    // SAFETY: the header's conventions: the model outlives the session.
    if unsafe { model::ready(model) }?.life == life {
        Ok(())
    } else {
        Err(Error::DeadHandle { name: &"model" })
    }
}

/// Does `work` on the session, to read only.
///
/// # Safety
/// The header's conventions.
unsafe fn look(
    handle: *const pagelm_session,
    work: impl FnOnce(&pagelm_session) -> Result<i32>,
) -> i32 {
    // SAFETY: the header's conventions.
    if let Err(error) = unsafe { check(handle) } {
        return error.code();
    }
    // SAFETY: alive by `check`; nobody changes it meanwhile by the header's conventions.
    guard::status(work(unsafe { &*handle }))
}

/// Does `work` on the session and keeps its failure.
///
/// # Safety
/// The header's conventions.
unsafe fn change(
    handle: *mut pagelm_session,
    work: impl FnOnce(&mut pagelm_session) -> Result<i32>,
) -> i32 {
    // SAFETY: the header's conventions.
    if let Err(error) = unsafe { check(handle) } {
        return error.code();
    }
    // SAFETY: alive by `check`; ours alone by the header's conventions.
    let session = unsafe { &mut *handle };
    let result = work(session);
    if let Err(error) = result {
        session.last = Some(error);
    }
    guard::status(result)
}

impl pagelm_session {
    /// The caller's elements, which must not lie in the session itself.
    ///
    /// # Safety
    /// The header's conventions, for `n` elements at `p`, for as long as `'a`.
    unsafe fn read<'a, T: bytemuck::Pod>(
        &self,
        p: *const T,
        n: usize,
        name: &'static str,
    ) -> Result<&'a [T]> {
        self.mem.apart(Span::new(p, n, name)?, name)?;
        // SAFETY: promised to this function.
        unsafe { guard::input(p, n, name) }
    }
}

/// The caller's parameters; NULL stands for zeros.
///
/// # Safety
/// The header's conventions, for a structure of any version at `p`.
unsafe fn params(p: *const pagelm_session_params) -> Result<SessionParams> {
    // SAFETY: promised to this function.
    convert::params(&unsafe { guard::read_struct_or_zeros(p, "params") }?)
}

/// Bytes of memory for a session.
fn mem_size(core: usize) -> Result<usize> {
    guard::block_size::<pagelm_session>(core)
}

/// Bytes of memory that `pagelm_session_init` will need, told from the model file's first `len`
/// bytes, before anything is loaded. `params` may be NULL: all defaults. PAGELM_MORE: the header is
/// longer than that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_probe(
    bytes: *const u8,
    len: usize,
    params: *const pagelm_session_params,
    size: *mut usize,
    error: *mut pagelm_error,
) -> i32 {
    let probe = || {
        // SAFETY: the header's conventions.
        let (bytes, params, mut size) = unsafe {
            (
                guard::input(bytes, len, "bytes")?,
                self::params(params)?,
                guard::answer(size, "size")?,
            )
        };
        match Session::probe(bytes, &params) {
            Ok(core) => size.put(0, mem_size(core)?),
            Err(Error::Truncated { .. }) => return Ok(PAGELM_MORE),
            Err(error) => return Err(error),
        }
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { guard::report(error, probe) }
}

/// Bytes of memory that `pagelm_session_init` needs for these parameters. `params` may be NULL: all
/// defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_mem_size(
    model: *const pagelm_model,
    params: *const pagelm_session_params,
    size: *mut usize,
) -> i32 {
    let query = || {
        // SAFETY: the header's conventions.
        let (it, params, mut size) =
            unsafe { (model::ready(model)?, self::params(params)?, guard::answer(size, "size")?) };
        size.put(0, mem_size(Session::mem_size(it.model, &params)?)?);
        Ok(PAGELM_OK)
    };
    guard::status(query())
}

/// Makes a session in `mem`, with an empty context and greedy sampling. `params` may be NULL: all
/// defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_init(
    mem: *mut c_void,
    mem_size: usize,
    model: *const pagelm_model,
    params: *const pagelm_session_params,
    session: *mut *mut pagelm_session,
    error: *mut pagelm_error,
) -> i32 {
    let init = || {
        // SAFETY: the header's conventions.
        let (it, params, mut out) = unsafe {
            (model::ready(model)?, self::params(params)?, guard::answer(session, "session")?)
        };
        let need = self::mem_size(Session::mem_size(it.model, &params)?)?;
        let block = Block::new::<pagelm_session>(mem, mem_size, need)?;
        block.span().apart(it.mem, "mem")?;
        block.span().apart(it.file, "mem")?;
        // SAFETY: the header's conventions; the block is new, and apart from the model and its file.
        let rest = unsafe { block.clear::<pagelm_session>() };
        let core = Session::new(it.model, rest, &params)?;
        let handle = block.handle::<pagelm_session>();
        let mark = Mark::alive(MAGIC, handle);
        let made = pagelm_session {
            mark,
            model,
            life: it.life,
            mem: block.span(),
            last: None,
            session: core,
        };
        // SAFETY: `Block::new` checked size and alignment; writable by the header's conventions.
        unsafe { handle.write(made) };
        out.put(0, handle);
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { guard::report(error, init) }
}

/// Sets how tokens are chosen from here on, and sets the generator to the seed. NULL: greedy.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_set_sampling(
    session: *mut pagelm_session,
    sampling: *const pagelm_sampling,
) -> i32 {
    let set = |it: &mut pagelm_session| {
        // SAFETY: the header's conventions.
        let c = unsafe { guard::read_struct_or_zeros(sampling, "sampling") }?;
        it.session.set_sampling(&convert::sampling(&c)?)?;
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { change(session, set) }
}

/// Adds `bias[i]` to the logit of `ids[i]` from here on; replaces what was set before. At most 256
/// of them; n 0: none. They are finite numbers; -1e9 forbids a token.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_set_logit_bias(
    session: *mut pagelm_session,
    ids: *const u32,
    bias: *const f32,
    n: usize,
) -> i32 {
    let set = |it: &mut pagelm_session| {
        // SAFETY: the header's conventions.
        let (ids, bias) = unsafe { (it.read(ids, n, "ids")?, it.read(bias, n, "bias")?) };
        let mut pairs = [(0u32, 0f32); MAX_BIAS];
        let list =
            pairs.get_mut(..n).ok_or(Error::Full { what: &"logit bias", max: MAX_BIAS as u32 })?;
        for (pair, both) in list.iter_mut().zip(ids.iter().zip(bias)) {
            *pair = (*both.0, *both.1);
        }
        it.session.set_logit_bias(list)?;
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { change(session, set) }
}

/// Adds a stop string: the text ends before it. At most 8 of them, 512 bytes together.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_add_stop(
    session: *mut pagelm_session,
    text: *const u8,
    len: usize,
) -> i32 {
    let add = |it: &mut pagelm_session| {
        // SAFETY: the header's conventions.
        let text = unsafe { it.read(text, len, "text") }?;
        it.session.add_stop(text)?;
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { change(session, add) }
}

/// Adds a token that ends the text, besides the model's own. At most 16 of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_add_stop_token(
    session: *mut pagelm_session,
    id: u32,
) -> i32 {
    let add = |it: &mut pagelm_session| {
        it.session.add_stop_token(id)?;
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { change(session, add) }
}

/// Forgets all stop strings and stop tokens that were added.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_clear_stops(session: *mut pagelm_session) -> i32 {
    let clear = |it: &mut pagelm_session| {
        it.session.clear_stops();
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { change(session, clear) }
}

/// Queues a text, at most `max_text` bytes; nothing is computed yet. `flags`: PAGELM_PARSE_SPECIAL
/// or 0; without it nothing in a text can spell a special token. Feeding goes on after a finish.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_feed_text(
    session: *mut pagelm_session,
    text: *const u8,
    len: usize,
    flags: u32,
) -> i32 {
    let feed = |it: &mut pagelm_session| {
        guard::only(flags, PAGELM_PARSE_SPECIAL)?;
        // SAFETY: the header's conventions.
        let text = unsafe { it.read(text, len, "text") }?;
        it.session.feed_text(text, flags & PAGELM_PARSE_SPECIAL != 0)?;
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { change(session, feed) }
}

/// Queues token ids; all of them or, after an error, none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_feed_ids(
    session: *mut pagelm_session,
    ids: *const u32,
    n: usize,
) -> i32 {
    let feed = |it: &mut pagelm_session| {
        // SAFETY: the header's conventions.
        let ids = unsafe { it.read(ids, n, "ids") }?;
        it.session.feed_ids(ids)?;
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { change(session, feed) }
}

/// Works through the queue. PAGELM_OK: the logits are there. PAGELM_MORE: the budget is used up, or
/// (with PAGELM_ALL_LOGITS) the logits of one batch are there and more tokens wait; call again.
/// `budget`: units of 65,536 multiply-adds; 0: no limit. It never changes a result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_eval(session: *mut pagelm_session, budget: u32) -> i32 {
    let eval = |it: &mut pagelm_session| {
        Ok(match it.session.eval(budget)? {
            Progress::Ready => PAGELM_OK,
            Progress::More => PAGELM_MORE,
        })
    };
    // SAFETY: the header's conventions.
    unsafe { change(session, eval) }
}

/// Works through the queue, then chooses a token and queues it. PAGELM_TOKEN: `pagelm_session_token`
/// has it, `pagelm_session_text` the text. PAGELM_MORE: the budget is used up; call again.
/// PAGELM_FINISHED: `pagelm_session_text` has the rest of the text, `finish` of
/// `pagelm_session_info` the reason. `budget` as in `pagelm_session_eval`. With nothing fed, the
/// text begins with the model's bos token.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_run(session: *mut pagelm_session, budget: u32) -> i32 {
    let run = |it: &mut pagelm_session| {
        Ok(match it.session.run(budget)? {
            Step::Token(_) => PAGELM_TOKEN,
            Step::More => PAGELM_MORE,
            Step::Finished(_) => PAGELM_FINISHED,
        })
    };
    // SAFETY: the header's conventions.
    unsafe { change(session, run) }
}

/// For a loop of your own, once `pagelm_session_eval` is done: chooses a token and queues it, as
/// `run` does, and writes it to `*id`. PAGELM_TOKEN, or PAGELM_FINISHED as from `run`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_sample(session: *mut pagelm_session, id: *mut u32) -> i32 {
    let sample = |it: &mut pagelm_session| {
        // SAFETY: the header's conventions.
        let mut out = unsafe { guard::answer(id, "id") }?;
        it.mem.apart(out.span(), "id")?;
        match it.session.sample()? {
            Step::Token(id) => out.put(0, id),
            Step::More => return Ok(PAGELM_MORE),
            Step::Finished(_) => return Ok(PAGELM_FINISHED),
        }
        Ok(PAGELM_TOKEN)
    };
    // SAFETY: the header's conventions.
    unsafe { change(session, sample) }
}

/// In place of `pagelm_session_sample`: queues a token that you chose. It counts as generated, for
/// the penalties, the stop strings and the text. PAGELM_TOKEN, or PAGELM_FINISHED if a stop string
/// is complete.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_accept(session: *mut pagelm_session, id: u32) -> i32 {
    let accept = |it: &mut pagelm_session| {
        Ok(match it.session.accept(id)? {
            Step::Token(_) => PAGELM_TOKEN,
            Step::More => PAGELM_MORE,
            Step::Finished(_) => PAGELM_FINISHED,
        })
    };
    // SAFETY: the header's conventions.
    unsafe { change(session, accept) }
}

/// The last generated token. PAGELM_ERROR_NO_LOGITS if there is none yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_token(session: *const pagelm_session, id: *mut u32) -> i32 {
    let token = |it: &pagelm_session| {
        // SAFETY: the header's conventions.
        let mut out = unsafe { guard::answer(id, "id") }?;
        it.mem.apart(out.span(), "id")?;
        out.put(0, it.session.token().ok_or(Error::NoLogits)?);
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { look(session, token) }
}

/// The text that the last `run` or `accept` released: `*len` bytes at `*text`, in the session, until
/// the next call that changes it. What may be the beginning of a stop string is held back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_text(
    session: *const pagelm_session,
    text: *mut *const u8,
    len: *mut usize,
) -> i32 {
    let text = |it: &pagelm_session| {
        // SAFETY: the header's conventions.
        let (mut text, mut len) =
            unsafe { (guard::answer(text, "text")?, guard::answer(len, "len")?) };
        let bytes = it.session.text();
        text.put(0, bytes.as_ptr());
        len.put(0, bytes.len());
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { look(session, text) }
}

/// For a caller that takes no further token: releases the text that is held back as the possible
/// beginning of a stop string. `pagelm_session_text` has it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_finish(session: *mut pagelm_session) -> i32 {
    let finish = |it: &mut pagelm_session| {
        it.session.release_text();
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { change(session, finish) }
}

/// The raw logits: `*n` = n_vocab numbers at `*logits`, in the session, until the next call that
/// changes it. `row` is 0; with PAGELM_ALL_LOGITS it counts the tokens of the last batch. A row that
/// is not there is PAGELM_ERROR_NO_LOGITS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_logits(
    session: *const pagelm_session,
    row: usize,
    logits: *mut *const f32,
    n: *mut usize,
) -> i32 {
    let logits = |it: &pagelm_session| {
        // SAFETY: the header's conventions.
        let (mut logits, mut n) =
            unsafe { (guard::answer(logits, "logits")?, guard::answer(n, "n")?) };
        let found = it.session.logits_row(row)?;
        logits.put(0, found.as_ptr());
        n.put(0, found.len());
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { look(session, logits) }
}

/// The `n` likeliest next tokens, likeliest first, with the logarithms of their probabilities in the
/// model's own distribution, before any sampling stage. `n` at most n_vocab.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_top_logprobs(
    session: *const pagelm_session,
    ids: *mut u32,
    logprobs: *mut f32,
    n: usize,
) -> i32 {
    let top = |it: &pagelm_session| {
        let (a, b) = (Span::new(ids, n, "ids")?, Span::new(logprobs, n, "logprobs")?);
        it.mem.apart(a, "ids")?;
        it.mem.apart(b, "logprobs")?;
        a.apart(b, "logprobs")?;
        // The core's own checks first, so that a failure writes nothing.
        if n > it.session.logits()?.len() {
            return Err(Error::BadParam { name: &"n" });
        }
        // SAFETY: the header's conventions; the two are apart.
        let (ids, logprobs) =
            unsafe { (guard::cleared(ids, n, "ids")?, guard::cleared(logprobs, n, "logprobs")?) };
        it.session.top_logprobs(ids, logprobs)?;
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { look(session, top) }
}

/// Empties context and queue and sets the generator to its seed again; sampling settings, biases
/// and stops stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_reset(session: *mut pagelm_session) -> i32 {
    let reset = |it: &mut pagelm_session| {
        it.session.reset();
        it.last = None;
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { change(session, reset) }
}

/// Where the session stands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_get_info(
    session: *const pagelm_session,
    info: *mut pagelm_session_info,
) -> i32 {
    let get = |it: &pagelm_session| {
        // SAFETY: the header's conventions.
        let out = unsafe { StructOut::new(info, "info") }?;
        out.put(&convert::session_info(&it.session.info()));
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { look(session, get) }
}

/// Bytes that `pagelm_session_snapshot` would write now: they grow with the text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_snapshot_size(
    session: *const pagelm_session,
    size: *mut usize,
) -> i32 {
    let query = |it: &pagelm_session| {
        // SAFETY: the header's conventions.
        let mut out = unsafe { guard::answer(size, "size") }?;
        out.put(0, it.session.snapshot_size()?);
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { look(session, query) }
}

/// Copies what the session remembers to `out`, which has room for `cap` bytes; `*n` becomes their
/// number. The copy may be kept, moved and restored later, also by another program. The session
/// goes on as if nothing had happened; of several rows of logits it keeps the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_snapshot(
    session: *mut pagelm_session,
    out: *mut c_void,
    cap: usize,
    n: *mut usize,
) -> i32 {
    let snapshot = |it: &mut pagelm_session| {
        let out = out.cast::<u8>();
        it.mem.apart(Span::new(out, cap, "out")?, "out")?;
        // SAFETY: the header's conventions.
        let mut n = unsafe { guard::answer(n, "n") }?;
        let size = it.session.snapshot_size()?;
        guard::fits(size, cap)?;
        // SAFETY: the header's conventions; `size` is at most `cap`.
        n.put(0, it.session.snapshot(unsafe { guard::cleared(out, size, "out") }?)?);
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { change(session, snapshot) }
}

/// Puts a session back to where a snapshot was taken, of a session of the same model and n_ctx. A
/// snapshot that does not fit is an error and leaves the session as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_restore(
    session: *mut pagelm_session,
    bytes: *const c_void,
    n: usize,
) -> i32 {
    let restore = |it: &mut pagelm_session| {
        // SAFETY: the header's conventions.
        let bytes = unsafe { it.read(bytes.cast::<u8>(), n, "bytes") }?;
        it.session.restore(bytes)?;
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { change(session, restore) }
}

/// The last failure of a call that takes the session without const; code PAGELM_OK and an empty
/// text if there was none since `init` or `reset`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_last_error(
    session: *const pagelm_session,
    error: *mut pagelm_error,
) -> i32 {
    let last = |it: &pagelm_session| {
        // SAFETY: the header's conventions.
        let out = unsafe { StructOut::new(error, "error") }?;
        let none = <pagelm_error as bytemuck::Zeroable>::zeroed();
        out.put(&it.last.as_ref().map_or(none, guard::full));
        Ok(PAGELM_OK)
    };
    // SAFETY: the header's conventions.
    unsafe { look(session, last) }
}
