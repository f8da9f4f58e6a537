//! The C functions about texts.
#![allow(clippy::missing_safety_doc)] // one contract for all: see the module above

use crate::error::{Error, Result, Word};
use crate::session::{Progress, Step};
use crate::tokenizer::Tokenizer;
use bytemuck::bytes_of;
use core::ffi::c_void;

use super::convert;
use super::guard::{self, Guard};
use super::model::{pagelm_model, ready};
use super::session::{enter, look, pagelm_session};
use super::types::{
    PAGELM_FINISHED, PAGELM_MORE, PAGELM_OK, PAGELM_PARSE_SPECIAL, PAGELM_TOKEN, pagelm_sampling,
    pagelm_session_info,
};

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
    let mut g = Guard::new();
    g.flags(flags, PAGELM_PARSE_SPECIAL);
    // SAFETY: the header's conventions.
    let (it, text, work, mut out, n) = unsafe {
        let work = g.output(work.cast::<u32>(), work_size / size_of::<u32>(), &"work");
        let (text, out) = (g.input(text, len, &"text"), g.output(ids, cap, &"ids"));
        (ready(&mut g, model), text, work, out, g.answer(n, &"n"))
    };
    let Some(it) = it else { return g.stopped() };
    let tokenize = || {
        g.check()?;
        let work = work.cleared(Tokenizer::work_size(len))?;
        // Counted first: what does not fit is not begun.
        let mut write = false;
        loop {
            let mut count = 0;
            it.model.tokenizer().encode(text, flags != 0, work, &mut |id| {
                if write {
                    out.put(count, &[id]);
                }
                count += 1;
                Ok(())
            })?;
            if write || ids.is_null() {
                n.put(count);
                return Ok(PAGELM_OK);
            }
            guard::fits(count, out.room())?;
            write = true;
        }
    };
    let result = tokenize();
    g.status(result)
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
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (it, list, mut out, len) = unsafe {
        let (list, out) = (g.input(ids, n, &"ids"), g.output(text, cap, &"text"));
        (ready(&mut g, model), list, out, g.answer(len, &"len"))
    };
    let Some(it) = it else { return g.stopped() };
    let detokenize = || {
        g.check()?;
        // Counted first: what does not fit is not begun.
        let mut write = false;
        loop {
            let mut size = 0;
            for &id in list {
                it.model.tokenizer().decode(id, &mut |bytes| {
                    if write {
                        out.put(size, bytes);
                    }
                    size += bytes.len();
                })?;
            }
            if write || text.is_null() {
                len.put(size);
                return Ok(PAGELM_OK);
            }
            guard::fits(size, out.room())?;
            write = true;
        }
    };
    let result = detokenize();
    g.status(result)
}
