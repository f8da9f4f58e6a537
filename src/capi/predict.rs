//! The C functions about models as functions of vectors or tokens.
#![allow(non_camel_case_types)]
#![allow(clippy::missing_safety_doc)] // one contract for all: see the module above

use crate::session::Predict;

use super::guard::Guard;
use super::session::{enter, look, pagelm_session};
use super::types::{PAGELM_EVERY_STEP, PAGELM_OK, PAGELM_STATEFUL};

/// One prediction: of tokens, or of numbers that are words as well.
///
/// # Safety
/// The header's conventions.
#[inline(never)]
unsafe fn run(
    session: *mut pagelm_session,
    (input, n_input, is_ids): (*const u32, usize, bool),
    flags: u32,
    (out, cap): (*mut f32, usize),
    n: *mut usize,
) -> i32 {
    let mut g = Guard::new();
    g.flags(flags, PAGELM_STATEFUL | PAGELM_EVERY_STEP);
    // SAFETY: the header's conventions.
    let (input, out, n, it) = unsafe {
        let input = g.input(input, n_input, &"input");
        (input, g.output(out, cap, &"out"), g.answer(n, &"n"), enter(&mut g, session))
    };
    let Some(it) = it else { return g.stopped() };
    let stateful = flags & PAGELM_STATEFUL != 0;
    let how = Predict { stateful, every_step: flags & PAGELM_EVERY_STEP != 0 };
    let width = if is_ids { 1 } else { it.session.model().info().n_input.max(1) as usize };
    let work = || {
        let out = out.cleared(it.session.predict_len(n_input / width, how.every_step)?)?;
        n.put(match is_ids {
            true => it.session.predict_ids(input, how, out)?,
            false => {
                let numbers = bytemuck::try_cast_slice(input).unwrap_or_default();
                it.session.predict(numbers, how, out)?
            }
        });
        Ok(())
    };
    let done = work();
    it.ok(done)
}

/// Runs a recurrent network over vectors: `n_values` numbers at `input`, a multiple of n_input of
/// `pagelm_model_info`, one step after the other. `*n` becomes the count of numbers written to
/// `out`: n_output, for the last step. `flags`: PAGELM_STATEFUL, go on from the state that the call
/// before left, or that was written, else from the beginning; PAGELM_EVERY_STEP, the outputs of each
/// step. One call over many steps and many stateful calls give the same bits. After an error what
/// `out` holds means nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_predict(
    session: *mut pagelm_session,
    input: *const f32,
    n_values: usize,
    flags: u32,
    out: *mut f32,
    cap: usize,
    n: *mut usize,
) -> i32 {
    // SAFETY: the header's conventions.
    unsafe { run(session, (input.cast(), n_values, false), flags, (out, cap), n) }
}

/// As `pagelm_session_predict`, for a model that takes tokens (n_input 0).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_predict_ids(
    session: *mut pagelm_session,
    ids: *const u32,
    n_ids: usize,
    flags: u32,
    out: *mut f32,
    cap: usize,
    n: *mut usize,
) -> i32 {
    // SAFETY: the header's conventions.
    unsafe { run(session, (ids, n_ids, true), flags, (out, cap), n) }
}

/// Copies the state of a recurrent network: n_state numbers of `pagelm_model_info`, layer by layer,
/// of each the forward, then the backward direction, of each h, then (LSTM) c.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_read_state(
    session: *const pagelm_session,
    out: *mut f32,
    cap: usize,
    n: *mut usize,
) -> i32 {
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (mut out, n, it) =
        unsafe { (g.output(out, cap, &"out"), g.answer(n, &"n"), look(&mut g, session)) };
    let Some(it) = it else { return g.stopped() };
    let copied = it.session.read_state().and_then(|state| {
        super::guard::fits(state.len(), out.room())?;
        out.put(0, state);
        n.put(state.len());
        Ok(PAGELM_OK)
    });
    g.status(copied)
}

/// Sets the state to go on from: `n` = n_state finite numbers, as `pagelm_session_read_state` gives
/// them, of this model or of another one with layers of the same sizes, as an encoder's for its
/// decoder.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_write_state(
    session: *mut pagelm_session,
    state: *const f32,
    n: usize,
) -> i32 {
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let (state, it) = unsafe { (g.input(state, n, &"state"), enter(&mut g, session)) };
    let Some(it) = it else { return g.stopped() };
    let written = it.session.write_state(state);
    it.ok(written)
}
