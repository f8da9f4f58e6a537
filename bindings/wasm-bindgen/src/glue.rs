//! What comes from `js/glue.js`, and options as JavaScript objects.
// Foreign items are documented in types.d.ts, and a string enum has hidden ones.
#![allow(missing_docs)]

use alloc::string::String;
use alloc::vec::Vec;
use wasm_bindgen::prelude::*;

/// The declarations that wasm-bindgen cannot derive.
#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = include_str!("types.d.ts");

#[wasm_bindgen(module = "/js/glue.js")]
extern "C" {
    /// The class of all errors.
    pub type PagelmError;
    #[wasm_bindgen(constructor)]
    pub fn new(code: &str, message: &str) -> PagelmError;

    pub fn load(loader: JsValue, source: JsValue, options: JsValue) -> JsValue;
    pub fn generate(model: JsValue, prompt: JsValue, options: JsValue) -> JsValue;
    #[wasm_bindgen(js_name = generateIds)]
    pub fn generate_ids(model: JsValue, prompt: JsValue, options: JsValue) -> JsValue;
    pub fn complete(model: JsValue, prompt: JsValue, options: JsValue) -> JsValue;
    pub fn feed(model: JsValue, prompt: JsValue, options: JsValue) -> JsValue;
    pub fn embed(model: JsValue, prompt: JsValue, options: JsValue) -> JsValue;

    #[wasm_bindgen(js_name = setsSampling)]
    pub fn sets_sampling(options: &Options) -> bool;
    #[wasm_bindgen(js_name = stopsOf)]
    pub fn stops_of(options: &Options) -> Vec<JsValue>;
    #[wasm_bindgen(catch, js_name = biasOf)]
    pub fn bias_of(options: &Options) -> Result<Vec<f64>, JsValue>;
    #[wasm_bindgen(catch, js_name = numbersOf)]
    pub fn numbers_of(list: &JsValue) -> Result<Vec<f64>, JsValue>;

    #[wasm_bindgen(js_name = pairOf)]
    pub fn pair_of(ids: Vec<u32>, logprobs: Vec<f32>) -> JsValue;
    #[wasm_bindgen(js_name = memoryOf)]
    pub fn memory_of(total: f64, file: f64, model: f64, session: f64) -> JsValue;
    #[wasm_bindgen(js_name = infoOf)]
    pub fn info_of(architecture: &str, name: &str, numbers: &[f64]) -> JsValue;
}

#[wasm_bindgen]
extern "C" {
    /// Any of the option objects of `types.d.ts`.
    pub type Options;
    #[wasm_bindgen(method, getter, js_name = contextLength)]
    pub fn context_length(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter)]
    pub fn batch(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, js_name = maxText)]
    pub fn max_text(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter)]
    pub fn slide(this: &Options) -> Option<bool>;

    #[wasm_bindgen(method, getter)]
    pub fn embedding(this: &Options) -> Option<bool>;
    #[wasm_bindgen(method, getter, js_name = halfCache)]
    pub fn half_cache(this: &Options) -> Option<bool>;
    #[wasm_bindgen(method, getter, js_name = lowMemory)]
    pub fn low_memory(this: &Options) -> Option<bool>;

    #[wasm_bindgen(method, getter)]
    pub fn temperature(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, js_name = topK)]
    pub fn top_k(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, js_name = topP)]
    pub fn top_p(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, js_name = minP)]
    pub fn min_p(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, js_name = repetitionPenalty)]
    pub fn repetition_penalty(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, js_name = presencePenalty)]
    pub fn presence_penalty(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, js_name = frequencyPenalty)]
    pub fn frequency_penalty(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, js_name = penaltyLastN)]
    pub fn penalty_last_n(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, js_name = ignoreEos)]
    pub fn ignore_eos(this: &Options) -> Option<bool>;
    #[wasm_bindgen(method, getter)]
    pub fn seed(this: &Options) -> Option<f64>;

    #[wasm_bindgen(method, getter)]
    pub fn special(this: &Options) -> Option<bool>;
    #[wasm_bindgen(method, getter)]
    pub fn keep(this: &Options) -> Option<bool>;
    #[wasm_bindgen(method, getter, js_name = everyStep)]
    pub fn every_step(this: &Options) -> Option<bool>;
    #[wasm_bindgen(method, getter, js_name = maxTokens)]
    pub fn max_tokens(this: &Options) -> Option<f64>;
}

/// How far a step got.
#[wasm_bindgen]
pub enum Step {
    /// The budget is spent: step again.
    More = "more",
    /// A token was chosen.
    Token = "token",
    /// The text has ended.
    Finished = "finished",
}

/// An error to throw, of the engine's.
pub fn thrown(error: pagelm::Error) -> PagelmError {
    let mut message = String::new();
    error.write(&mut |text| message.push_str(text));
    PagelmError::new(crate::code::name(&error), &message)
}
