/// <reference lib="esnext.disposable" />
// Types of pagelm.js, the loader alone (`pagelm/core`). index.d.ts has those of the whole entry.

/** Where a model comes from: an address, an answer of `fetch`, bytes, or a file that a person chose. */
export type ModelSource = string | URL | Response | ArrayBuffer | Uint8Array | Blob;

/** Where the engine comes from. */
export type WasmSource = string | URL | Response | WebAssembly.Module | ArrayBuffer | Uint8Array;

/**
 * `simd128` wants a browser of 2021 or later (Safari: 2023), `relaxed` the relaxed-simd of Chromium 114 or Firefox 146
 * and later ones, and pays on AArch64 and, in Chromium, on x86 with AVX-VNNI; `scalar` runs in the others. All write the
 * same text.
 */
export type Build = "relaxed" | "simd128" | "scalar";

/** The fastest build that this browser can run. */
export function detectBuild(): Build;

/** Where the builds lie: beside the loader. */
export const ENGINES: Readonly<Record<Build, URL>>;

/**
 * Everything that goes wrong in pagelm, save an abort: that rejects with the signal's own reason.
 *
 * `code` is one of the engine's names (`BAD_MAGIC`, `CORRUPT`, `UNSUPPORTED_ARCH`,
 * `UNSUPPORTED_TYPE`, `PROMPT_TOO_LONG`, `BAD_TOKEN`, `BAD_PARAM`, ...: all of `PAGELM_ERROR_*` in
 * pagelm.h) or one of the loader's:
 *
 * - `NETWORK`: the address could not be read at all; `cause` says why.
 * - `HTTP`: the server answered with an error, such as 404.
 * - `HTML`: a web page came instead of a file, as single-page servers do for a wrong address.
 * - `WASM`: the engine's file is missing or is no WebAssembly that this browser can run.
 * - `TRUNCATED`: the data ended early; the message says how many bytes came and how many should have.
 * - `ON_PROGRESS`: the `onProgress` callback threw; `cause` is what it threw.
 * - `BUSY`: another call took the model over while this text was being generated.
 * - `DEAD`: the model was disposed of, or the engine crashed, which it never should; `cause` then says
 *   where. Every later call says so again: load the model anew.
 */
export class PagelmError extends Error {
  constructor(code: string, message: string, cause?: unknown);
  readonly code: string;
}

/** How far loading has come. */
export interface Progress {
  /** Bytes that have arrived. */
  loaded: number;
  /** Bytes of the whole file, as soon as its header has arrived. */
  total: number | undefined;
  /** `ready` once, at the end. */
  phase: "download" | "ready";
}

export interface LoadOptions {
  /** The engine, where it does not lie beside the loader as `pagelm.wasm`, `pagelm-relaxed.wasm` or `pagelm-scalar.wasm`. */
  wasm?: WasmSource;
  /** Which of the three engines to load. Default: `detectBuild()`. */
  build?: Build;
  onProgress?: (progress: Progress) => void;
  /** Ends the loading. */
  signal?: AbortSignal;
  /** Tokens of context, at most the model's own. Fewer need less memory. Default: the model's. */
  contextLength?: number;
  /** The longest prompt in bytes. Default: 8 per token of context, at least 256. */
  maxText?: number;
  /** Prompt tokens worked on at once. It changes speed and memory, never a result. Default: 16. */
  batch?: number;
  /** When the context is full, drop its oldest half and go on, instead of ending the text. */
  slide?: boolean;
  /** `flags` of `pagelm_session_params` in pagelm.h, for `raw`. Default: 0. */
  flags?: number;
}

/** Loads a model. The file streams into its final place; memory does not grow afterwards. */
export function loadModel(source: ModelSource, options?: LoadOptions): Promise<Model>;

/** Token ids, each a whole number from 0 to `vocabSize - 1`. */
export type Ids = readonly number[] | Uint32Array;

/** How the next token is chosen. Without any of these: always the likeliest. */
export interface Sampling {
  /** 0: the likeliest token; 1: the model's own distribution; in between more careful. Default: 0. */
  temperature?: number;
  /** Choose among this many of the likeliest tokens. 0: all. */
  topK?: number;
  /** Choose among the likeliest tokens that together have this probability. 0: all. */
  topP?: number;
  /** Leave out tokens less likely than this share of the likeliest. 0: none. */
  minP?: number;
  /** Above 1 makes tokens of the recent text less likely. 0 or 1: off. */
  repetitionPenalty?: number;
  /** Taken off the logit of every token of the recent text. */
  presencePenalty?: number;
  /** Taken off the logit of a token for each time it is in the recent text. */
  frequencyPenalty?: number;
  /** How many tokens back is recent. Default: 64. */
  penaltyLastN?: number;
  /** Go on after the model's end-of-text token. */
  ignoreEos?: boolean;
  /** A whole number from 0 to 2^53 - 1: the same seed gives the same text everywhere. Default: 0. */
  seed?: number;
  /** Texts and token ids that end the text; they are not part of it. */
  stop?: string | number | readonly (string | number)[];
  /** Added to the logits of tokens, by id; -1e9 forbids one. At most 256 of them, all finite. */
  logitBias?: Readonly<Record<number, number>>;
}

export interface FeedOptions extends Sampling {
  /** Ends the work; it then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Turn text that spells a special token, such as `<|endoftext|>`, into that token. */
  special?: boolean;
  /**
   * Go on from what the model has read and written so far, instead of starting anew. Sampling
   * settings then stay as they are too, unless one of them is given: that sets all of them.
   */
  keep?: boolean;
  /** The page gets its turn this often, in milliseconds. Default: 8. */
  yieldMs?: number;
}

export interface GenerateOptions extends FeedOptions {
  /** Default: until the text ends or the context is full. */
  maxTokens?: number;
  /** Called for each token, before its text is yielded; `text` may be empty. */
  onToken?: (id: number, text: string) => void;
}

export interface PredictOptions {
  /** Go on from the state that the call before left, instead of starting anew. */
  keep?: boolean;
  /** Give the outputs of every step, one behind the other, not only those of the last. */
  everyStep?: boolean;
}

/** Why a text ended: `length` is maxTokens, `stop` a stop text or token, `context` that it is full. */
export type Finish = "length" | "stop" | "context";

export interface ModelInfo {
  readonly architecture: string;
  readonly name: string;
  /** Bytes. */
  readonly fileSize: number;
  /** How many weights the model has. */
  readonly parameters: number;
  readonly vocabSize: number;
  /** Tokens of context in use. */
  readonly contextLength: number;
  /** Tokens of context that the model was made for. */
  readonly maxContextLength: number;
  readonly layers: number;
  readonly heads: number;
  /** Without a tokenizer a model takes and gives token ids only. */
  readonly tokenizer: boolean;
  readonly bos: number | null;
  readonly eos: number | null;
  /** Numbers of one step of input for `predict`; 0: the model takes token ids. */
  readonly inputs: number;
  /** Numbers of one step of output. */
  readonly outputs: number;
}

/** Bytes of memory. `total` is all of it, and stays so until a snapshot is taken or restored. */
export interface MemoryInfo {
  readonly total: number;
  readonly file: number;
  readonly model: number;
  readonly session: number;
}

/** The likeliest tokens, the likeliest first, by the model's own distribution. */
export interface TopLogprobs {
  ids: Uint32Array;
  logprobs: Float32Array;
}

/** A model with one text in progress. Every method throws a PagelmError. */
export interface Model {
  readonly info: ModelInfo;
  readonly memory: MemoryInfo;
  /** Why the last text ended; undefined before the first one has. */
  readonly finish: Finish | undefined;

  /**
   * Streams text, in whole characters. Stop pulling (`break`) or abort the signal to stop. A prompt may be text or ids;
   * an empty one starts from the model's own beginning-of-text token, or goes on with `keep`.
   */
  generate(prompt?: string | Ids, options?: GenerateOptions): AsyncGenerator<string, void, undefined>;
  /** Streams token ids, also of models without a tokenizer. */
  generateIds(prompt?: string | Ids, options?: GenerateOptions): AsyncGenerator<number, void, undefined>;
  /** The whole text at once. */
  complete(prompt?: string | Ids, options?: GenerateOptions): Promise<{ text: string; ids: number[]; finish: Finish }>;
  /** Reads a prompt without generating: `logits` and `topLogprobs` then speak of the next token. */
  feed(prompt: string | Ids, options?: FeedOptions): Promise<void>;

  tokenize(text: string, options?: { special?: boolean }): Uint32Array;
  detokenize(ids: Ids): string;

  /** A copy of the raw scores of the next token, or of the one just generated. */
  logits(): Float32Array;
  /** The best `n` of them as logarithms of probabilities. Default: 10; at most `vocabSize`. */
  topLogprobs(n?: number): TopLogprobs;

  /**
   * Runs a recurrent or feed-forward network as a function: numbers in, step after step (token ids for
   * a model of tokens), the outputs of the last step out. One call over many steps and many calls with
   * `keep` give the same numbers. It takes no turn from others: keep sequences short on the main thread.
   */
  predict(input: ArrayLike<number>, options?: PredictOptions): Float32Array;
  /**
   * A copy of the text's whole state: context, random numbers, settings. Memory may grow by as much,
   * once: it is the only call after loading, with `restore`, that makes it grow.
   */
  snapshot(): Uint8Array;
  /** Goes back to a snapshot of the same model, loaded with the same options. Use `keep` to go on. */
  restore(snapshot: Uint8Array): void;
  /** Forgets the text. */
  reset(): void;
  /**
   * The C interface (docs/ABI.md) for what no method does: `call(x.pagelm_..., ...)` throws on a
   * negative status, `session` and `handle` are the handles, `out` has room for two words, from
   * `scratch` to `end` the memory is free. The views hold until memory grows: ask anew each time.
   */
  raw(): Raw;
  /** Gives the memory back. Nothing else works afterwards. */
  dispose(): void;
  /** The same, for `using`. */
  [Symbol.dispose](): void;
}

export interface Raw {
  readonly x: Readonly<Record<string, (...args: number[]) => number>>;
  call(f: (...args: number[]) => number, ...args: number[]): number;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly f32: Float32Array;
  readonly session: number;
  readonly handle: number;
  readonly out: number;
  readonly scratch: number;
  readonly end: number;
}
