// Types of index.js (pages, workers) and node.js (Node): the whole entry.
import type {
  FeedOptions, Ids, LoadOptions as CoreLoadOptions, Model as CoreModel, ModelSource,
} from "./pagelm.js";

export * from "./pagelm.js";

declare module "./pagelm.js" {
  interface PagelmError {
    /** What a person can do about it. */
    readonly advice: string;
  }
}

export interface SharedOptions extends Omit<CoreLoadOptions, "flags"> {
  /**
   * Keep the file in the browser's Cache API, for the next visit and without a network. A download
   * that broke off goes on where it ended, also another day. A stored file is compared with the
   * server's version by one small request, unless `integrity` is given. Where storage is refused
   * the model is simply not stored: `model.download.problem` says why. For addresses only.
   */
  cache?: boolean;
  /** The file's SHA-256: `sha256-` and base64, as in HTML, or 64 hexadecimal digits. */
  integrity?: string;
  /** How often in a row a download that breaks off is taken up again, where it ended. Default: 3. */
  retries?: number;
  /** A download of which nothing comes for this long counts as broken off, in milliseconds. Default: 30000. */
  stallMs?: number;
  /** Lay the session out for `embed`. */
  embedding?: boolean;
  /** Lay the session out for `attention`: 4 bytes more for each position, head and layer. */
  attention?: boolean;
  /** Keep attention's keys and values in F16: half the memory of a long context, rounded. */
  halfCache?: boolean;
  /** Keep no table of what a recurrent network's first layer makes of each token: slower, the same text. */
  lowMemory?: boolean;
}

export interface LoadOptions extends SharedOptions {
  /** The thread in which the model runs. Default: `main`, the one that loads it. */
  where?: "main";
}

export interface WorkerLoadOptions extends SharedOptions {
  /** A worker of the model's own, which ends with the model. A `Worker` must run pagelm's worker.js. */
  where: "worker" | Worker;
}

/** How the file of an address was had. */
export interface DownloadReport {
  readonly from: "network" | "cache" | "both";
  /** Bytes that came over the network. */
  readonly received: number;
  /** How often the download went on after a break. */
  readonly resumed: number;
  /** The whole file lies in the cache now. */
  readonly stored: boolean;
  /** Why it does not, although `cache` was asked for: a full quota, no secure origin, ... */
  readonly problem: string | null;
}

export interface EmbedOptions extends FeedOptions {
  /** The mean over all tokens, or the last token's. Default: `mean`. */
  pooling?: "mean" | "last";
}

export interface Model extends CoreModel {
  /** Null where the model did not come from an address. */
  readonly download: DownloadReport | null;
  /**
   * Reads a text or ids and gives one vector for it: the last layer's outputs, pooled. Without a
   * prompt, the vector of what was read and written so far. Wants `embedding: true` at the load.
   */
  embed(prompt?: string | Ids, options?: EmbedOptions): Promise<Float32Array>;
  /**
   * How much each position counted for the last token, in one head of a transformer's layer: numbers
   * that add up to 1. Layers and heads count from 0. Wants `attention: true` at the load.
   */
  attention(layer: number, head: number): Float32Array;
  /**
   * A copy of a recurrent network's state, after setting it to `numbers` if they are given: an
   * encoder's state for its decoder, for example. `predict` and `generate` with `keep` go on from it.
   */
  state(numbers?: ArrayLike<number>): Float32Array;

}

/**
 * A model in a worker: the same methods with the same arguments. Those that answer at once in this
 * thread give a promise here, so code that writes `await` before each of them runs with both.
 */
export type WorkerModel = {
  readonly [K in keyof Omit<Model, "raw">]: Model[K] extends (...args: infer A) => infer R
    ? K extends "dispose" | typeof Symbol.dispose
      ? Model[K]
      : R extends AsyncGenerator<unknown> | Promise<unknown>
        ? Model[K]
        : (...args: A) => Promise<R>
    : Model[K];
};

/** Loads a model. The file streams into its final place; memory does not grow afterwards. */
export function loadModel(source: ModelSource, options: WorkerLoadOptions): Promise<WorkerModel>;
export function loadModel(source: ModelSource, options?: LoadOptions): Promise<Model>;

/** Removes a stored model from the cache, or all of them. */
export function clearCache(url?: string | URL): Promise<void>;

