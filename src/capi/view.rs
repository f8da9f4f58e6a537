//! The C functions that show numbers where they lie in a session.
#![allow(clippy::missing_safety_doc)] // one contract for all: see the module above

use crate::error::{Error, Result};
use crate::models::Pooling;
use crate::session::Session;

use super::guard::Guard;
use super::session::{look, pagelm_session};
use super::types::{PAGELM_OK, PAGELM_POOL_LAST, PAGELM_POOL_MEAN};

/// Tells where the numbers are that `find` finds.
///
/// # Safety
/// The header's conventions.
#[inline(never)]
unsafe fn show(
    session: *const pagelm_session,
    (numbers, n): (*mut *const f32, *mut usize),
    find: &dyn for<'a> Fn(&'a Session<'static>) -> Result<&'a [f32]>,
) -> i32 {
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (numbers, n, it) =
        unsafe { (g.answer(numbers, &"numbers"), g.answer(n, &"n"), look(&mut g, session)) };
    let Some(it) = it else { return g.stopped() };
    match find(&it.session) {
        Ok(found) => {
            numbers.put(found.as_ptr());
            n.put(found.len());
            PAGELM_OK
        }
        Err(error) => error.code(),
    }
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
    // SAFETY: the header's conventions.
    unsafe { show(session, (logits, n), &|it| it.logits_row(row)) }
}

/// One vector for what was worked through since `init` or `reset` (behind a slide, for what is in
/// the context): `*n` = n_hidden numbers of `pagelm_model_info` at `*embedding`, in the session,
/// until the next call that changes it. `pooling`: PAGELM_POOL_MEAN or PAGELM_POOL_LAST, of the last
/// layer's outputs; of a GPT-2 behind the last norm, of a recurrent network what its dense layers
/// take. Feed, call `pagelm_session_eval` until it is done, then ask. PAGELM_ERROR_UNSUPPORTED
/// without PAGELM_EMBEDDING in the session's `flags`, PAGELM_ERROR_NO_LOGITS while there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_embedding(
    session: *const pagelm_session,
    pooling: u32,
    embedding: *mut *const f32,
    n: *mut usize,
) -> i32 {
    let pooling = match pooling {
        PAGELM_POOL_MEAN => Ok(Pooling::Mean),
        PAGELM_POOL_LAST => Ok(Pooling::Last),
        _ => Err(Error::BadParam { name: &"pooling" }),
    };
    // SAFETY: the header's conventions.
    unsafe { show(session, (embedding, n), &|it| it.embedding(pooling?)) }
}

/// How much each position counted for the last token that was worked through: `*n` numbers at
/// `*weights` that add up to 1, of one head of a layer, both counted from 0, in the session, until
/// the next call that changes it. PAGELM_ERROR_UNSUPPORTED without PAGELM_ATTENTION in the session's
/// `flags` and for a recurrent network; PAGELM_ERROR_NO_LOGITS at the beginning, while `eval` or
/// `run` is not done, and after `pagelm_session_restore`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_attention(
    session: *const pagelm_session,
    layer: u32,
    head: u32,
    weights: *mut *const f32,
    n: *mut usize,
) -> i32 {
    // SAFETY: the header's conventions.
    unsafe { show(session, (weights, n), &|it| it.attention(layer as usize, head as usize)) }
}
