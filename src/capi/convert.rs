//! Between the header's structures and the core's: field by field, no pointers.
#![forbid(unsafe_code)]

use super::guard::Guard;
use super::types::*;
use crate::error::Error;
#[cfg(feature = "text")]
use crate::error::Result;
use crate::models::ModelInfo;
#[cfg(feature = "text")]
use crate::sample::Sampling;
#[cfg(feature = "text")]
use crate::session::{Finish, SessionInfo};
use crate::session::{SessionParams, WhenFull};
use crate::tokenizer::Kind;
use bytemuck::Zeroable;
use core::ffi::c_char;

/// What the core says about a model; `mem_size` is the whole block's.
#[inline(never)]
pub(super) fn model_info(info: &ModelInfo, mem_size: usize) -> pagelm_model_info {
    let mut c = pagelm_model_info::zeroed();
    c.n_vocab = info.n_vocab;
    c.n_ctx = info.n_ctx;
    c.n_embd = info.n_embd;
    c.n_layer = info.n_layer;
    c.n_head = info.n_head;
    c.tokenizer = match info.tokenizer {
        Kind::None => PAGELM_TOKENIZER_NONE,
        Kind::Bpe => PAGELM_TOKENIZER_BPE,
        Kind::Pieces => PAGELM_TOKENIZER_PIECES,
    };
    c.bos = info.bos.unwrap_or(PAGELM_NO_TOKEN);
    c.eos = info.eos.unwrap_or(PAGELM_NO_TOKEN);
    c.packed = u32::from(info.packed);
    c.header_size = info.header_size as u64;
    c.file_size = info.file_size as u64;
    c.model_mem_size = mem_size as u64;
    c.n_params = info.n_params as u64;
    c.work_per_token = info.work_per_token;
    c.n_input = info.n_input;
    c.n_output = info.n_output;
    c.n_state = info.n_state;
    c.n_hidden = info.n_hidden;
    c.arch = info.arch.map(|byte| byte as c_char);
    c.name = info.name.map(|byte| byte as c_char);
    c
}

/// The caller's parameters of a session.
pub(super) fn params(g: &mut Guard, c: &pagelm_session_params) -> SessionParams {
    // Without texts there is nothing to keep.
    let keep = PAGELM_ALL_LOGITS | PAGELM_EMBEDDING | PAGELM_ATTENTION | PAGELM_HALF_CACHE;
    g.flags(c.flags, PAGELM_LOW_MEMORY | if cfg!(feature = "text") { keep } else { 0 });
    let when_full = match c.when_full {
        PAGELM_WHEN_FULL_STOP => WhenFull::Stop,
        PAGELM_WHEN_FULL_SLIDE => WhenFull::Slide,
        _ => {
            g.fail(Error::BadParam { name: &"when_full" });
            WhenFull::Stop
        }
    };
    SessionParams {
        n_ctx: c.n_ctx,
        n_batch: c.n_batch,
        max_text: c.max_text,
        when_full,
        all_logits: c.flags & PAGELM_ALL_LOGITS != 0,
        embedding: c.flags & PAGELM_EMBEDDING != 0,
        attention: c.flags & PAGELM_ATTENTION != 0,
        half_cache: c.flags & PAGELM_HALF_CACHE != 0,
        low_memory: c.flags & PAGELM_LOW_MEMORY != 0,
    }
}

#[cfg(feature = "text")]
/// The caller's settings of the sampler.
pub(super) fn sampling(c: &pagelm_sampling) -> Result<Sampling> {
    only(c.flags, PAGELM_IGNORE_EOS)?;
    // One layout, but for the size and the flags that are no flags in the core.
    let mut sampling: Sampling = bytemuck::cast(*c);
    sampling.reserved = 0;
    Ok(sampling)
}

#[cfg(feature = "text")]
/// Where a session stands.
pub(super) fn session_info(info: &SessionInfo) -> pagelm_session_info {
    let mut c = pagelm_session_info::zeroed();
    c.n_ctx = info.n_ctx;
    c.n_past = info.n_past;
    c.n_queued = info.n_queued;
    c.n_generated = info.n_generated;
    c.finish = match info.finish {
        None => PAGELM_FINISH_NOT,
        Some(Finish::StopToken) => PAGELM_FINISH_STOP_TOKEN,
        Some(Finish::StopString) => PAGELM_FINISH_STOP_STRING,
        Some(Finish::ContextFull) => PAGELM_FINISH_CONTEXT_FULL,
    };
    c.work_left = info.work_left;
    c.work_done = info.work_done;
    c
}

#[cfg(feature = "text")]
/// An error if `flags` holds bits that this build does not know.
pub(super) fn only(flags: u32, known: u32) -> Result<()> {
    if flags & !known == 0 { Ok(()) } else { Err(Error::BadParam { name: &"flags" }) }
}
