//! A text being written, step by step.

use crate::glue::{self, Options, PagelmError, Step, thrown};
use crate::{Shared, State, Thrown, borrow, options};
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefMut;
use pagelm::{Error, Finish, Pooling, Progress};
use wasm_bindgen::prelude::*;

/// A text being written: stop stepping and it is cancelled.
#[wasm_bindgen]
pub struct Text {
    shared: Shared,
    turn: u32,
    /// Tokens that may still come.
    left: f64,
    /// Only the prompt is read.
    feeding: bool,
    id: Option<u32>,
    piece: String,
}

#[wasm_bindgen]
impl Text {
    /// Works for `budget` units of 65,536 multiplications; 0 is no limit.
    pub fn step(&mut self, budget: u32) -> Thrown<Step> {
        self.piece = String::new();
        let shared = self.shared.clone();
        let mut state = current(&shared, self.turn)?;
        let session = state.engine()?.session();
        if self.feeding && self.left > 0.0 {
            return match session.eval(budget).map_err(thrown)? {
                Progress::More => Ok(Step::More),
                Progress::Ready => Ok(Step::Finished),
            };
        }
        let (step, finish) = match self.left > 0.0 {
            true => match session.run(budget).map_err(thrown)? {
                pagelm::Step::More => return Ok(Step::More),
                pagelm::Step::Token(id) => {
                    self.id = Some(id);
                    self.left -= 1.0;
                    (Step::Token, None)
                }
                pagelm::Step::Finished(Finish::ContextFull) => (Step::Finished, Some("context")),
                pagelm::Step::Finished(_) => (Step::Finished, Some("stop")),
            },
            false => {
                session.release_text();
                (Step::Finished, Some("length"))
            }
        };
        let released = session.text().to_vec();
        // A text cut off at a length may go on, with the rest of a character.
        let last = matches!(finish, Some("context" | "stop"));
        self.piece = state.utf8.push(&released, last);
        state.finish = finish.or(state.finish);
        Ok(step)
    }

    /// The last token.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.id
    }

    /// One vector for all that was read and written so far. `pooling`: "mean" or "last".
    pub fn embedding(
        &self,
        #[wasm_bindgen(unchecked_optional_param_type = "Pooling")] pooling: Option<String>,
    ) -> Thrown<Vec<f32>> {
        let pooling = match pooling.as_deref() {
            None | Some("mean") => Pooling::Mean,
            Some("last") => Pooling::Last,
            Some(_) => return Err(thrown(Error::BadParam { name: &"pooling" })),
        };
        let mut state = current(&self.shared, self.turn)?;
        Ok(state.engine()?.session().embedding(pooling).map_err(thrown)?.to_vec())
    }

    /// The text that the last step brought, in whole characters.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn text(&self) -> String {
        self.piece.clone()
    }
}

impl Text {
    pub(crate) fn begin(
        shared: &Shared,
        prompt: &JsValue,
        options: &Options,
        feeding: bool,
    ) -> Thrown<Text> {
        let mut state = borrow(shared)?;
        let keep = options.keep().unwrap_or(false);
        if keep {
            state.turn = state.turn.wrapping_add(1);
        } else {
            state.reset()?;
        }
        let turn = state.turn;
        let session = state.engine()?.session();
        if !keep || glue::sets_sampling(options) {
            options::set_sampling(session, options)?;
        }
        match prompt.as_string() {
            Some(text) => session.feed_text(text.as_bytes(), options.special().unwrap_or(false)),
            None => session.feed_ids(&options::ids(prompt)?),
        }
        .map_err(thrown)?;
        let left = if feeding { 1.0 } else { options::max_tokens(options) };
        Ok(Text { shared: shared.clone(), turn, left, feeding, id: None, piece: String::new() })
    }
}

/// The model's state, as long as the text of that turn is the one in progress.
fn current(shared: &Shared, turn: u32) -> Thrown<RefMut<'_, State>> {
    let state = borrow(shared)?;
    if state.turn == turn {
        return Ok(state);
    }
    Err(PagelmError::new("BUSY", "another call took over"))
}
