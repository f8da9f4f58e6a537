//! pagelm by wasm-bindgen: for bundlers, and for front ends in Rust.
//!
//! [`engine::Engine`] is a model with its memory, without JavaScript;
//! [`Model`] and [`load_model`] are what JavaScript sees of it. What they take
//! and give is declared in `types.d.ts`; docs/WASM_BINDGEN.md explains.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod allocator;
mod code;
pub mod engine;
mod glue;
mod held;
mod options;
mod text;
mod utf8;

pub use glue::Step;
pub use pagelm;
pub use text::Text;

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{RefCell, RefMut};
use engine::Engine;
use glue::{Options, PagelmError, thrown};
use pagelm::session::Predict;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;

/// What a call gives, or an error to throw.
type Thrown<T> = Result<T, PagelmError>;

/// What all handles of a model share.
struct State {
    /// None once the model was disposed of.
    engine: Option<Engine>,
    /// Which text is being written, so that an older one's steps are refused.
    turn: u32,
    utf8: utf8::Joiner,
    finish: Option<&'static str>,
}

type Shared = Rc<RefCell<State>>;

/// The state, if nothing is wrong with it.
fn borrow(shared: &Shared) -> Thrown<RefMut<'_, State>> {
    let crashed = |_| PagelmError::new("TRAP", "the engine crashed; load the model again");
    let state = shared.try_borrow_mut().map_err(crashed)?;
    match state.engine {
        Some(_) => Ok(state),
        None => Err(PagelmError::new("DEAD", "disposed of; load the model again")),
    }
}

impl State {
    fn engine(&mut self) -> Thrown<&mut Engine> {
        self.engine.as_mut().ok_or_else(|| thrown(pagelm::Error::Internal))
    }

    fn reset(&mut self) -> Thrown<()> {
        self.turn = self.turn.wrapping_add(1);
        self.utf8 = utf8::Joiner::default();
        self.engine()?.session().reset();
        Ok(())
    }
}

/// Loads a model from an address, an answer of `fetch`, bytes or a file.
#[wasm_bindgen(js_name = loadModel, unchecked_return_type = "Promise<Model>")]
pub fn load_model(
    #[wasm_bindgen(unchecked_param_type = "ModelSource")] source: JsValue,
    #[wasm_bindgen(unchecked_optional_param_type = "LoadOptions")] options: JsValue,
) -> JsValue {
    let loader = Loader::new(options.clone());
    glue::load(loader.into(), source, options)
}

/// Whether what was caught is one of pagelm's errors, which have a `code`.
#[wasm_bindgen(js_name = isPagelmError, unchecked_return_type = "error is PagelmError")]
#[must_use]
pub fn is_pagelm_error(#[wasm_bindgen(unchecked_param_type = "unknown")] error: &JsValue) -> bool {
    error.is_instance_of::<PagelmError>()
}

/// A model that arrives in pieces of yours: `push` until it says true, then `finish`.
#[wasm_bindgen]
pub struct Loader {
    options: Options,
    inner: Option<engine::Loader>,
}

#[wasm_bindgen]
impl Loader {
    /// Begins to load.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(
        #[wasm_bindgen(unchecked_optional_param_type = "LoadOptions")] options: JsValue,
    ) -> Loader {
        Loader { options: options::given(options), inner: None }
    }

    /// Bytes of the whole file, once its header has arrived.
    #[wasm_bindgen(getter, js_name = fileSize)]
    #[must_use]
    pub fn file_size(&self) -> Option<f64> {
        Some(self.inner.as_ref()?.info()?.file_size as f64)
    }

    /// Takes the next bytes; true when the file is whole.
    #[wasm_bindgen(unchecked_return_type = "boolean")]
    pub fn push(&mut self, bytes: &[u8]) -> Thrown<bool> {
        let loader = match &mut self.inner {
            Some(loader) => loader,
            none => none.insert(engine::Loader::new(options::session(&self.options)?)),
        };
        loader.push(bytes).map_err(thrown)
    }

    /// The model, once `push` said true.
    pub fn finish(&mut self) -> Thrown<Model> {
        let loader = self.inner.take().ok_or(pagelm::Error::NotLoaded).map_err(thrown)?;
        let engine = Some(loader.finish().map_err(thrown)?);
        let state = State { engine, turn: 0, utf8: utf8::Joiner::default(), finish: None };
        Ok(Model { state: Rc::new(RefCell::new(state)) })
    }
}

/// A model with one text in progress.
#[wasm_bindgen]
pub struct Model {
    state: Shared,
}

#[wasm_bindgen]
impl Model {
    /// What the model is.
    #[wasm_bindgen(getter, unchecked_return_type = "ModelInfo")]
    pub fn info(&self) -> Thrown<JsValue> {
        let mut state = borrow(&self.state)?;
        let engine = state.engine()?;
        let n_ctx = engine.session().info().n_ctx;
        let info = engine.info();
        let token = |id: Option<u32>| id.map_or(-1.0, f64::from);
        let numbers = [
            info.file_size as f64,
            info.n_params as f64,
            info.n_vocab.into(),
            n_ctx.into(),
            info.n_ctx.into(),
            info.n_layer.into(),
            info.n_head.into(),
            (info.tokenizer as u8).into(),
            token(info.bos),
            token(info.eos),
            info.n_input.into(),
            info.n_output.into(),
        ];
        Ok(glue::info_of(&padded(&info.arch), &padded(&info.name), &numbers))
    }

    /// Bytes of memory.
    #[wasm_bindgen(getter, unchecked_return_type = "MemoryInfo")]
    pub fn memory(&self) -> Thrown<JsValue> {
        let [file, model, session] = borrow(&self.state)?.engine()?.memory().map(|n| n as f64);
        Ok(glue::memory_of(allocator::memory_size(), file, model, session))
    }

    /// Why the last text ended; undefined before the first one has.
    #[wasm_bindgen(getter, unchecked_return_type = "Finish | undefined")]
    pub fn finish(&self) -> Thrown<Option<String>> {
        Ok(borrow(&self.state)?.finish.map(String::from))
    }

    /// Streams text, in whole characters.
    #[wasm_bindgen(unchecked_return_type = "AsyncGenerator<string, void, undefined>")]
    #[must_use]
    pub fn generate(
        &self,
        #[wasm_bindgen(unchecked_optional_param_type = "string | Ids")] prompt: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "GenerateOptions")] options: JsValue,
    ) -> JsValue {
        glue::generate(self.handle(), prompt, options)
    }

    /// Streams token ids, also of models without a tokenizer.
    #[wasm_bindgen(js_name = generateIds, unchecked_return_type = "AsyncGenerator<number, void, undefined>")]
    #[must_use]
    pub fn generate_ids(
        &self,
        #[wasm_bindgen(unchecked_optional_param_type = "string | Ids")] prompt: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "GenerateOptions")] options: JsValue,
    ) -> JsValue {
        glue::generate_ids(self.handle(), prompt, options)
    }

    /// The whole text at once.
    #[wasm_bindgen(
        unchecked_return_type = "Promise<{ text: string; ids: number[]; finish: Finish }>"
    )]
    #[must_use]
    pub fn complete(
        &self,
        #[wasm_bindgen(unchecked_optional_param_type = "string | Ids")] prompt: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "GenerateOptions")] options: JsValue,
    ) -> JsValue {
        glue::complete(self.handle(), prompt, options)
    }

    /// Reads a prompt without generating: `logits` and `topLogprobs` then speak of the next token.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    #[must_use]
    pub fn feed(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string | Ids")] prompt: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "FeedOptions")] options: JsValue,
    ) -> JsValue {
        glue::feed(self.handle(), prompt, options)
    }

    /// One vector for a text: the mean of the last layer's outputs, or the last one. The model must
    /// have been loaded with `embedding`.
    #[wasm_bindgen(unchecked_return_type = "Promise<Float32Array>")]
    #[must_use]
    pub fn embed(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string | Ids")] prompt: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "EmbedOptions")] options: JsValue,
    ) -> JsValue {
        glue::embed(self.handle(), prompt, options)
    }

    /// Begins a text whose steps you take yourself.
    pub fn start(
        &self,
        #[wasm_bindgen(unchecked_optional_param_type = "string | Ids")] prompt: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "GenerateOptions")] options: JsValue,
    ) -> Thrown<Text> {
        Text::begin(&self.state, &prompt, &options::given(options), false)
    }

    /// As `start`, but the steps end when the prompt is read.
    #[wasm_bindgen(js_name = startFeed)]
    pub fn start_feed(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string | Ids")] prompt: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "FeedOptions")] options: JsValue,
    ) -> Thrown<Text> {
        Text::begin(&self.state, &prompt, &options::given(options), true)
    }

    /// The tokens of a text.
    pub fn tokenize(
        &self,
        text: &str,
        #[wasm_bindgen(unchecked_optional_param_type = "{ special?: boolean }")] options: JsValue,
    ) -> Thrown<Vec<u32>> {
        let special = options::given(options).special().unwrap_or(false);
        borrow(&self.state)?.engine()?.tokenize(text, special).map_err(thrown)
    }

    /// The text of tokens.
    pub fn detokenize(
        &self,
        #[wasm_bindgen(unchecked_param_type = "Ids")] ids: JsValue,
    ) -> Thrown<String> {
        let ids = options::ids(&ids)?;
        borrow(&self.state)?.engine()?.detokenize(&ids).map_err(thrown)
    }

    /// A copy of the raw scores of the next token, or of the one just generated.
    pub fn logits(&self) -> Thrown<Vec<f32>> {
        let mut state = borrow(&self.state)?;
        Ok(state.engine()?.session().logits().map_err(thrown)?.to_vec())
    }

    /// The best `n` of them as logarithms of probabilities. Default: 10.
    #[wasm_bindgen(js_name = topLogprobs, unchecked_return_type = "TopLogprobs")]
    pub fn top_logprobs(&self, n: Option<u32>) -> Thrown<JsValue> {
        let mut state = borrow(&self.state)?;
        let session = state.engine()?.session();
        let n = n.unwrap_or(10).min(session.model().info().n_vocab) as usize;
        let (mut ids, mut logprobs) = (vec![0; n], vec![0.0; n]);
        let n = session.top_logprobs(&mut ids, &mut logprobs).map_err(thrown)?;
        ids.truncate(n);
        logprobs.truncate(n);
        Ok(glue::pair_of(ids, logprobs))
    }

    /// Runs a recurrent or feed-forward network as a function: numbers (or token ids) in, the
    /// outputs of the last step out.
    pub fn predict(
        &self,
        #[wasm_bindgen(unchecked_param_type = "ArrayLike<number>")] input: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "PredictOptions")] options: JsValue,
    ) -> Thrown<Vec<f32>> {
        let options = options::given(options);
        let how = Predict {
            stateful: options.keep().unwrap_or(false),
            every_step: options.every_step().unwrap_or(false),
        };
        let mut state = borrow(&self.state)?;
        let engine = state.engine()?;
        let output = match engine.info().n_input {
            0 => engine.predict_ids(&options::ids(&input)?, how),
            _ => engine.predict(&options::floats(&input)?, how),
        };
        output.map_err(thrown)
    }

    /// A copy of a recurrent network's state, after setting it to `numbers` if they are given.
    pub fn state(
        &self,
        #[wasm_bindgen(unchecked_optional_param_type = "ArrayLike<number>")] numbers: JsValue,
    ) -> Thrown<Vec<f32>> {
        let mut state = borrow(&self.state)?;
        let session = state.engine()?.session();
        if !numbers.is_undefined() {
            session.write_state(&options::floats(&numbers)?).map_err(thrown)?;
        }
        Ok(session.read_state().map_err(thrown)?.to_vec())
    }

    /// A copy of the text's whole state: context, random numbers, settings.
    pub fn snapshot(&self) -> Thrown<Vec<u8>> {
        borrow(&self.state)?.engine()?.snapshot().map_err(thrown)
    }

    /// Goes back to a snapshot of the same model, loaded with the same options.
    pub fn restore(&self, snapshot: &[u8]) -> Thrown<()> {
        let mut state = borrow(&self.state)?;
        state.reset()?;
        state.engine()?.session().restore(snapshot).map_err(thrown)
    }

    /// Forgets the text.
    pub fn reset(&self) -> Thrown<()> {
        borrow(&self.state)?.reset()
    }

    /// Gives the memory back. Nothing else works afterwards.
    pub fn dispose(&self) {
        if let Ok(mut state) = borrow(&self.state) {
            state.engine = None;
        }
    }
}

impl Model {
    /// The same model for the glue, which gives the handle back.
    fn handle(&self) -> JsValue {
        Model { state: self.state.clone() }.into()
    }
}

/// A name that is padded with zeros.
fn padded(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

// The program on this page is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/WASM_BINDGEN.md")]
struct Page;
