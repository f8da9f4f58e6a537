//! The C functions about sessions.
#![allow(non_camel_case_types)]
#![allow(clippy::missing_safety_doc)] // one contract for all: see the module above

use crate::error::{Error, Result, Word};
use crate::session::{Progress, Session, SessionParams, Step};
use bytemuck::bytes_of;
use core::ffi::c_void;
use core::mem::offset_of;

use super::convert;
use super::guard::{self, Guard, Mark, Span};
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
    pub(super) session: Session<'static>,
}

/// Whether a live session of a live model is at `handle`.
///
/// # Safety
/// The header's conventions.
#[inline(never)]
unsafe fn alive(g: &mut Guard, handle: *const pagelm_session) -> bool {
    // SAFETY: the header's conventions; a `Mark` is at that offset.
    if !unsafe { g.alive(handle, offset_of!(pagelm_session, mark), MAGIC) } {
        return false;
    }
    // SAFETY: the mark says that `init` put a handle here and that it was not moved or overwritten.
    let (model, life, mem) = unsafe { ((*handle).model, (*handle).life, (*handle).mem) };
    g.apart(mem, &"session");
    // SAFETY: the header's conventions: the model outlives the session.
    let alive = unsafe { model::ready(g, model) }.is_some_and(|it| it.life == life);
    if !alive {
        g.fail(Error::DeadHandle { name: &"model" });
    }
    alive
}

/// The session, to read only, if the call's arguments are sound. Comes after the other arguments.
///
/// # Safety
/// The header's conventions.
pub(super) unsafe fn look<'a>(
    g: &mut Guard,
    handle: *const pagelm_session,
) -> Option<&'a pagelm_session> {
    // SAFETY: the header's conventions.
    let sound = unsafe { alive(g, handle) } && g.check().is_ok();
    // SAFETY: alive; nobody changes it meanwhile by the header's conventions.
    sound.then(|| unsafe { &*handle })
}

/// The session, if the call's arguments are sound; it keeps their fault. Comes after the other
/// arguments.
///
/// # Safety
/// The header's conventions.
#[inline(never)]
pub(super) unsafe fn enter<'a>(
    g: &mut Guard,
    handle: *mut pagelm_session,
) -> Option<&'a mut pagelm_session> {
    // SAFETY: the header's conventions.
    if !unsafe { alive(g, handle) } {
        return None;
    }
    // SAFETY: alive; ours alone by the header's conventions.
    let session = unsafe { &mut *handle };
    match g.check() {
        Ok(()) => Some(session),
        Err(fault) => {
            session.last = Some(fault);
            None
        }
    }
}

impl pagelm_session {
    /// The status of a call's work, whose failure is kept.
    #[inline(never)]
    fn done(&mut self, result: Result<i32>) -> i32 {
        result.unwrap_or_else(|error| {
            self.last = Some(error);
            error.code()
        })
    }

    /// As [`pagelm_session::done`], of work that has no number to tell.
    #[inline(never)]
    pub(super) fn ok(&mut self, result: Result<()>) -> i32 {
        self.done(result.map(|()| PAGELM_OK))
    }
}

/// Bytes that a caller gives: where, how many, and what they are called.
type Given = (*const u8, usize, Word);

/// For a call without any.
const NOTHING: Given = (core::ptr::null(), 0, &"nothing");

/// A call that changes a session by a number or by bytes: `work` gets both once they are sound.
///
/// # Safety
/// The header's conventions.
#[inline(never)]
unsafe fn act(
    session: *mut pagelm_session,
    (p, n, name): Given,
    work: &mut dyn FnMut(&mut pagelm_session, &[u8]) -> Result<i32>,
) -> i32 {
    let mut g = Guard::new();
    // SAFETY: promised to this function.
    let (bytes, it) = unsafe { (g.input(p, n, name), enter(&mut g, session)) };
    let Some(it) = it else { return g.stopped() };
    let result = work(it, bytes);
    it.done(result)
}

/// The status of work that has no number to tell.
fn ok(_: ()) -> i32 {
    PAGELM_OK
}

/// The status of a step.
fn step(step: Step) -> i32 {
    match step {
        Step::Token(_) => PAGELM_TOKEN,
        Step::More => PAGELM_MORE,
        Step::Finished(_) => PAGELM_FINISHED,
    }
}

/// Bytes of a session's block.
fn mem_size(core: Result<usize>) -> Result<usize> {
    guard::block_size::<pagelm_session>(core?)
}

/// The caller's parameters; NULL stands for zeros.
///
/// # Safety
/// The header's conventions, for a structure of any version at `p`.
#[inline(never)]
unsafe fn params(g: &mut Guard, p: *const pagelm_session_params) -> SessionParams {
    // SAFETY: promised to this function.
    let c = unsafe { g.read_record(p, &"params") };
    convert::params(g, &c)
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
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (bytes, params, size) = unsafe {
        g.report_to(error);
        (g.input(bytes, len, &"bytes"), self::params(&mut g, params), g.answer(size, &"size"))
    };
    let probe = || {
        g.check()?;
        size.put(mem_size(Session::probe(bytes, &params))?);
        Ok(PAGELM_OK)
    };
    let result = model::more(probe());
    g.status(result)
}

/// Bytes of memory that `pagelm_session_init` needs for these parameters. `params` may be NULL: all
/// defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_mem_size(
    model: *const pagelm_model,
    params: *const pagelm_session_params,
    size: *mut usize,
) -> i32 {
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (it, params, size) = unsafe {
        let (params, size) = (self::params(&mut g, params), g.answer(size, &"size"));
        (model::ready(&mut g, model), params, size)
    };
    let Some(it) = it else { return g.stopped() };
    let query = || {
        g.check()?;
        size.put(mem_size(Session::mem_size(it.model, &params))?);
        Ok(PAGELM_OK)
    };
    let result = query();
    g.status(result)
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
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (it, params, out) = unsafe {
        g.report_to(error);
        let (params, out) = (self::params(&mut g, params), g.answer(session, &"session"));
        (model::ready(&mut g, model), params, out)
    };
    let Some(it) = it else { return g.stopped() };
    let init = || {
        g.check()?;
        let need = self::mem_size(Session::mem_size(it.model, &params))?;
        let block = g.block(mem, mem_size, need)?;
        // SAFETY: the header's conventions; the block is new, and apart from the model and its file.
        let rest = unsafe { block.clear(size_of::<pagelm_session>()) };
        let core = Session::new(it.model, rest, &params)?;
        let handle = block.handle::<pagelm_session>();
        let (mark, mem) = (Mark::alive(MAGIC, handle), block.span);
        let made = pagelm_session { mark, model, life: it.life, mem, last: None, session: core };
        // SAFETY: `Guard::block` checked size and alignment; writable by the header's conventions.
        unsafe { handle.write(made) };
        out.put(handle);
        Ok(PAGELM_OK)
    };
    let result = init();
    g.status(result)
}

/// Sets how tokens are chosen from here on, and sets the generator to the seed. NULL: greedy.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_set_sampling(
    session: *mut pagelm_session,
    sampling: *const pagelm_sampling,
) -> i32 {
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (sampling, it) = unsafe { (g.read_record(sampling, &"sampling"), enter(&mut g, session)) };
    let Some(it) = it else { return g.stopped() };
    let set = convert::sampling(&sampling).and_then(|sampling| it.session.set_sampling(&sampling));
    it.ok(set)
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
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (ids, bias, it) =
        unsafe { (g.input(ids, n, &"ids"), g.input(bias, n, &"bias"), enter(&mut g, session)) };
    let Some(it) = it else { return g.stopped() };
    let set = it.session.set_bias(n, ids.iter().copied().zip(bias.iter().copied()));
    it.ok(set)
}

/// Adds a stop string: the text ends before it. At most 8 of them, 512 bytes together.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_add_stop(
    session: *mut pagelm_session,
    text: *const u8,
    len: usize,
) -> i32 {
    // SAFETY: the header's conventions.
    unsafe { act(session, (text, len, &"text"), &mut |it, text| it.session.add_stop(text).map(ok)) }
}

/// Adds a token that ends the text, besides the model's own. At most 16 of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_add_stop_token(
    session: *mut pagelm_session,
    id: u32,
) -> i32 {
    // SAFETY: the header's conventions.
    unsafe { act(session, NOTHING, &mut |it, _| it.session.add_stop_token(id).map(ok)) }
}

/// Forgets all stop strings and stop tokens that were added.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_clear_stops(session: *mut pagelm_session) -> i32 {
    // SAFETY: the header's conventions.
    unsafe {
        act(session, NOTHING, &mut |it, _| {
            it.session.clear_stops();
            Ok(PAGELM_OK)
        })
    }
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
    // SAFETY: the header's conventions.
    unsafe {
        act(session, (text, len, &"text"), &mut |it, text| {
            convert::only(flags, PAGELM_PARSE_SPECIAL)?;
            it.session.feed_text(text, flags != 0).map(ok)
        })
    }
}

/// Queues token ids; all of them or, after an error, none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_feed_ids(
    session: *mut pagelm_session,
    ids: *const u32,
    n: usize,
) -> i32 {
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (ids, it) = unsafe { (g.input(ids, n, &"ids"), enter(&mut g, session)) };
    let Some(it) = it else { return g.stopped() };
    let fed = it.session.feed_ids(ids);
    it.ok(fed)
}

/// Works through the queue. PAGELM_OK: the logits are there. PAGELM_MORE: the budget is used up, or
/// (with PAGELM_ALL_LOGITS) the logits of one batch are there and more tokens wait; call again.
/// `budget`: units of 65,536 multiply-adds; 0: no limit. It never changes a result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_eval(session: *mut pagelm_session, budget: u32) -> i32 {
    // SAFETY: the header's conventions.
    unsafe {
        act(session, NOTHING, &mut |it, _| {
            let done = it.session.eval(budget)?;
            Ok(if done == Progress::Ready { PAGELM_OK } else { PAGELM_MORE })
        })
    }
}

/// Works through the queue, then chooses a token and queues it. PAGELM_TOKEN: `pagelm_session_token`
/// has it, `pagelm_session_text` the text. PAGELM_MORE: the budget is used up; call again.
/// PAGELM_FINISHED: `pagelm_session_text` has the rest of the text, `finish` of
/// `pagelm_session_info` the reason. `budget` as in `pagelm_session_eval`. With nothing fed, the
/// text begins with the model's bos token.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_run(session: *mut pagelm_session, budget: u32) -> i32 {
    // SAFETY: the header's conventions.
    unsafe { act(session, NOTHING, &mut |it, _| it.session.run(budget).map(step)) }
}

/// For a loop of your own, once `pagelm_session_eval` is done: chooses a token and queues it, as
/// `run` does, and writes it to `*id`. PAGELM_TOKEN, or PAGELM_FINISHED as from `run`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_sample(session: *mut pagelm_session, id: *mut u32) -> i32 {
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (out, it) = unsafe { (g.answer(id, &"id"), enter(&mut g, session)) };
    let Some(it) = it else { return g.stopped() };
    let sampled = it.session.sample();
    if let Ok(Step::Token(id)) = sampled {
        out.put(id);
    }
    it.done(sampled.map(step))
}

/// In place of `pagelm_session_sample`: queues a token that you chose. It counts as generated, for
/// the penalties, the stop strings and the text. PAGELM_TOKEN, or PAGELM_FINISHED if a stop string
/// is complete.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_accept(session: *mut pagelm_session, id: u32) -> i32 {
    // SAFETY: the header's conventions.
    unsafe { act(session, NOTHING, &mut |it, _| it.session.accept(id).map(step)) }
}

/// The last generated token. PAGELM_ERROR_NO_LOGITS if there is none yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_token(session: *const pagelm_session, id: *mut u32) -> i32 {
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (out, it) = unsafe { (g.answer(id, &"id"), look(&mut g, session)) };
    let Some(it) = it else { return g.stopped() };
    let Some(id) = it.session.token() else {
        return Error::NoLogits.code();
    };
    out.put(id);
    PAGELM_OK
}

/// The text that the last `run` or `accept` released: `*len` bytes at `*text`, in the session, until
/// the next call that changes it. What may be the beginning of a stop string is held back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_text(
    session: *const pagelm_session,
    text: *mut *const u8,
    len: *mut usize,
) -> i32 {
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (text, len, it) =
        unsafe { (g.answer(text, &"text"), g.answer(len, &"len"), look(&mut g, session)) };
    let Some(it) = it else { return g.stopped() };
    let bytes = it.session.text();
    text.put(bytes.as_ptr());
    len.put(bytes.len());
    PAGELM_OK
}

/// For a caller that takes no further token: releases the text that is held back as the possible
/// beginning of a stop string. `pagelm_session_text` has it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_finish(session: *mut pagelm_session) -> i32 {
    // SAFETY: the header's conventions.
    unsafe {
        act(session, NOTHING, &mut |it, _| {
            it.session.release_text();
            Ok(PAGELM_OK)
        })
    }
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
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (ids, logprobs, it) = unsafe {
        (g.output(ids, n, &"ids"), g.output(logprobs, n, &"logprobs"), look(&mut g, session))
    };
    let Some(it) = it else { return g.stopped() };
    let top = || {
        // The core's own checks first, so that a failure writes nothing.
        if n > it.session.logits()?.len() {
            return Err(Error::BadParam { name: &"n" });
        }
        it.session.top_logprobs(ids.cleared(n)?, logprobs.cleared(n)?)?;
        Ok(PAGELM_OK)
    };
    let result = top();
    g.status(result)
}

/// Empties context and queue and sets the generator to its seed again; sampling settings, biases
/// and stops stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_reset(session: *mut pagelm_session) -> i32 {
    // SAFETY: the header's conventions.
    unsafe {
        act(session, NOTHING, &mut |it, _| {
            it.session.reset();
            it.last = None;
            Ok(PAGELM_OK)
        })
    }
}

/// Where the session stands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_get_info(
    session: *const pagelm_session,
    info: *mut pagelm_session_info,
) -> i32 {
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (mut out, it) = unsafe { (g.record(info, &"info"), look(&mut g, session)) };
    let Some(it) = it else { return g.stopped() };
    out.put(bytes_of(&convert::session_info(&it.session.info())));
    PAGELM_OK
}

/// Bytes that `pagelm_session_snapshot` would write now: they grow with the text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_snapshot_size(
    session: *const pagelm_session,
    size: *mut usize,
) -> i32 {
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (out, it) = unsafe { (g.answer(size, &"size"), look(&mut g, session)) };
    let Some(it) = it else { return g.stopped() };
    match it.session.snapshot_size() {
        Ok(size) => out.put(size),
        Err(error) => return error.code(),
    }
    PAGELM_OK
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
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (out, n, it) = unsafe {
        (g.output(out.cast::<u8>(), cap, &"out"), g.answer(n, &"n"), enter(&mut g, session))
    };
    let Some(it) = it else { return g.stopped() };
    let snapshot = || {
        let out = out.cleared(it.session.snapshot_size()?)?;
        n.put(it.session.snapshot(out)?);
        Ok(())
    };
    let taken = snapshot();
    it.ok(taken)
}

/// Puts a session back to where a snapshot was taken, of a session of the same model and n_ctx. A
/// snapshot that does not fit is an error and leaves the session as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_restore(
    session: *mut pagelm_session,
    bytes: *const c_void,
    n: usize,
) -> i32 {
    // SAFETY: the header's conventions.
    unsafe {
        act(session, (bytes.cast(), n, &"bytes"), &mut |it, bytes| {
            it.session.restore(bytes).map(ok)
        })
    }
}

/// The last failure of a call that takes the session without const; code PAGELM_OK and an empty
/// text if there was none since `init` or `reset`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_last_error(
    session: *const pagelm_session,
    error: *mut pagelm_error,
) -> i32 {
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (mut out, it) = unsafe { (g.record(error, &"error"), look(&mut g, session)) };
    let Some(it) = it else { return g.stopped() };
    out.put(bytes_of(&guard::full(it.last.as_ref())));
    PAGELM_OK
}
