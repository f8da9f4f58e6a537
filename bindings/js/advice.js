// `error.advice`: what a person can do about an error, beside its `message`, which says what happened.
import { PagelmError } from "./pagelm.js";

const AGAIN = "Load the model again.";
const FILE = "Download or convert the model file again; if that does not help, it is damaged at its source.";
const OTHER = "Convert the model with `pagelm convert`, or choose another one: `pagelm inspect FILE` tells what is in a file.";
const FEWER = "Load the model with a smaller contextLength, or use a smaller or more strongly quantised model.";

const ADVICE = {
  NETWORK: "Check the address and the connection; a server of another origin must allow this page by CORS.",
  HTTP: "Check the address: the server was reached, but refused or does not have the file.",
  HTML: "Check the address, and that the server really holds the file: many servers answer a wrong address with a page.",
  WASM: "Serve the .wasm files beside the script, or tell `wasm` where they are; a policy must allow 'wasm-unsafe-eval'.",
  WORKER: "Serve worker.js and its modules beside the script, or load the model without `where: \"worker\"`.",
  TRUNCATED: "Load again: with `cache` the download goes on where it broke off. If it always ends there, the file is incomplete.",
  CHANGED: "Load the model again, so that all of it is the new version.",
  INTEGRITY: "The file is not the one that this page expects. Do not use it; tell the page's author.",
  ON_PROGRESS: "Mend the onProgress callback of the page.",
  BUSY: "One model writes one text at a time: wait for it, abort it, or load the model twice.",
  DEAD: AGAIN,
  CORRUPT: FILE, BAD_MAGIC: "Check the address: this file is no GGUF model.", NOT_FINITE: FILE, BAD_SHAPE: FILE, BAD_VALUE: FILE,
  MISSING_KEY: OTHER, MISSING_TENSOR: OTHER, BAD_VERSION: OTHER, UNSUPPORTED_ARCH: OTHER, UNSUPPORTED_TYPE: OTHER,
  UNSUPPORTED: "This kind of model does not do that; docs/JAVASCRIPT.md lists what each kind does.",
  OVERFLOW: "The weights are broken or the format is too coarse: use a version of the model with finer weights.",
  OUT_OF_MEMORY: FEWER, TOO_LARGE: FEWER,
  BAD_TOKEN: "Token ids are whole numbers from 0 to model.info.vocabSize - 1.",
  NO_TOKENIZER: "Give token ids instead of a text: this model file has no tokenizer.",
  UNENCODABLE: "Leave out the characters that the model was not trained on.",
  TEXT_TOO_LONG: "Shorten the text, or load the model with a larger maxText.",
  PROMPT_TOO_LONG: "Shorten the prompt, load the model with a larger contextLength, or use `slide`.",
  NOTHING_FED: "Give a prompt: this model has no token that begins a text.",
  NO_LOGITS: "Call feed or generate first.",
  BAD_PARAM: "Check the options against docs/JAVASCRIPT.md.",
  BAD_SNAPSHOT: "Restore a snapshot into the same model, loaded with the same contextLength.",
  FULL: "Give fewer stop texts, stop tokens or biases.",
  BAD_INPUT: "Give model.info.inputs numbers for each step.",
};

Object.defineProperty(PagelmError.prototype, "advice", {
  configurable: true,
  get() {
    return ADVICE[this.code] ?? "This should not happen: please report it, with the code and the message.";
  },
});

export { PagelmError };
