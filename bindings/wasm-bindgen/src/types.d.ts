/** Where a model comes from: an address, an answer of `fetch`, bytes, or a file that a person chose. */
export type ModelSource = string | URL | Response | ArrayBuffer | Uint8Array | Blob;

/**
 * Everything that goes wrong in pagelm, save an abort: that rejects with the signal's own reason.
 *
 * `code` is one of the engine's names (`BAD_MAGIC`, `CORRUPT`, `UNSUPPORTED_ARCH`, `PROMPT_TOO_LONG`,
 * ...: all of `PAGELM_ERROR_*` in pagelm.h), or `NETWORK`, `HTTP`, `HTML`, `TRUNCATED`, `ON_PROGRESS`,
 * `BUSY`, `DEAD` or `TRAP`, which mean what they mean in pagelm's plain JavaScript package.
 * `isPagelmError` tells one.
 */
export interface PagelmError extends Error {
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
  /** Keep what `embed` needs. */
  embedding?: boolean;
  /** Keep attention's keys and values in F16: half the memory of a long context, rounded. */
  halfCache?: boolean;
  /** Keep no table of what a recurrent network's first layer makes of each token: slower, the same text. */
  lowMemory?: boolean;
}

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

/** Which of a text's vectors its embedding is: their mean, or the last one. */
export type Pooling = "mean" | "last";

export interface EmbedOptions extends FeedOptions {
  /** Default: "mean". */
  pooling?: Pooling;
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

/** Bytes of memory. `total` is all that the module has, whatever it is used for. */
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
