//! The C functions about sessions.
#![allow(non_camel_case_types)]
#![allow(clippy::missing_safety_doc)] // one contract for all: see the module above

use crate::error::{Error, Result};
use crate::session::{Session, SessionParams};
use bytemuck::bytes_of;
use core::ffi::c_void;
use core::mem::offset_of;

use super::convert;
use super::guard::{self, Guard, Mark, Span};
use super::model::{self, pagelm_model};
use super::types::{PAGELM_OK, pagelm_error, pagelm_session_params};

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
    pub(super) last: Option<Error>,
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
    pub(super) fn done(&mut self, result: Result<i32>) -> i32 {
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

/// Empties context and queue and sets the generator to its seed again; sampling settings, biases
/// and stops stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pagelm_session_reset(session: *mut pagelm_session) -> i32 {
    let mut g = Guard::new();
    // SAFETY: the header's conventions.
    let Some(it) = (unsafe { enter(&mut g, session) }) else { return g.stopped() };
    it.session.reset();
    it.last = None;
    PAGELM_OK
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
