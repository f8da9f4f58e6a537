//! Options and arguments from JavaScript, checked.

use crate::Thrown;
use crate::glue::{self, Options, PagelmError, thrown};
use alloc::vec::Vec;
use pagelm::error::Word;
use pagelm::{Error, Sampling, Session, SessionParams, WhenFull};
use wasm_bindgen::{JsCast, JsValue};

/// The largest whole number below which all are numbers of JavaScript's.
const MAX_SEED: f64 = 9_007_199_254_740_991.0;

/// The options given, or none.
pub(crate) fn given(options: JsValue) -> Options {
    let none = options.is_undefined() || options.is_null();
    // A number has no property of an option's name, as no options have.
    if none { JsValue::from_f64(0.0) } else { options }.unchecked_into()
}

/// A whole number from 0 to `max`; 0 if none is given.
fn whole(name: Word, value: Option<f64>, max: f64) -> Thrown<u64> {
    let value = value.unwrap_or(0.0);
    let n = value as u64;
    if value <= max && n as f64 == value { Ok(n) } else { Err(thrown(Error::BadParam { name })) }
}

fn whole32(name: Word, value: Option<f64>) -> Thrown<u32> {
    Ok(whole(name, value, u32::MAX.into())? as u32)
}

/// The sizes of a session.
pub(crate) fn session(options: &Options) -> Thrown<SessionParams> {
    let slide = options.slide().unwrap_or(false);
    Ok(SessionParams {
        n_ctx: whole32(&"contextLength", options.context_length())?,
        n_batch: whole32(&"batch", options.batch())?,
        max_text: whole32(&"maxText", options.max_text())?,
        when_full: if slide { WhenFull::Slide } else { WhenFull::Stop },
        embedding: options.embedding().unwrap_or(false),
        half_cache: options.half_cache().unwrap_or(false),
        low_memory: options.low_memory().unwrap_or(false),
        ..SessionParams::default()
    })
}

/// Sets how tokens are chosen, and where a text stops.
pub(crate) fn set_sampling(session: &mut Session<'_>, options: &Options) -> Thrown<()> {
    let number = |value: Option<f64>| value.unwrap_or(0.0) as f32;
    let sampling = Sampling {
        reserved: 0,
        temperature: number(options.temperature()),
        top_k: whole32(&"topK", options.top_k())?,
        top_p: number(options.top_p()),
        min_p: number(options.min_p()),
        repetition_penalty: number(options.repetition_penalty()),
        presence_penalty: number(options.presence_penalty()),
        frequency_penalty: number(options.frequency_penalty()),
        penalty_last_n: whole32(&"penaltyLastN", options.penalty_last_n())?,
        ignore_eos: options.ignore_eos().unwrap_or(false).into(),
        seed: whole(&"seed", options.seed(), MAX_SEED)?,
    };
    session.set_sampling(&sampling).map_err(thrown)?;
    let bias = glue::bias_of(options).map_err(unreadable)?;
    let bias: Vec<(u32, f32)> = bias.chunks(2).map(|pair| (id(pair[0]), pair[1] as f32)).collect();
    session.set_logit_bias(&bias).map_err(thrown)?;
    session.clear_stops();
    for stop in glue::stops_of(options) {
        let added = match (stop.as_string(), stop.as_f64()) {
            (Some(text), _) => session.add_stop(text.as_bytes()),
            (None, number) => session.add_stop_token(id(number.unwrap_or(-1.0))),
        };
        added.map_err(thrown)?;
    }
    Ok(())
}

/// How many tokens at most; none given is no limit.
pub(crate) fn max_tokens(options: &Options) -> f64 {
    options.max_tokens().unwrap_or(f64::INFINITY)
}

/// A number as a token; what can be none becomes one that no vocabulary has.
fn id(number: f64) -> u32 {
    let id = number as u32;
    if f64::from(id) == number { id } else { u32::MAX }
}

/// Token ids.
pub(crate) fn ids(list: &JsValue) -> Thrown<Vec<u32>> {
    Ok(numbers(list)?.into_iter().map(id).collect())
}

/// Numbers for the engine.
pub(crate) fn floats(list: &JsValue) -> Thrown<Vec<f32>> {
    Ok(numbers(list)?.into_iter().map(|number| number as f32).collect())
}

fn numbers(list: &JsValue) -> Thrown<Vec<f64>> {
    if list.is_undefined() {
        return Ok(Vec::new());
    }
    glue::numbers_of(list).map_err(unreadable)
}

fn unreadable(_: JsValue) -> PagelmError {
    PagelmError::new("BAD_PARAM", "this takes a list of numbers")
}
