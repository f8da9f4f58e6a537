// What JavaScript does better than Rust: streams, promises, generators, the
// page's turn. Imported by the module's own JavaScript.

export class PagelmError extends Error {
  name = "PagelmError";
  constructor(code, message, cause) {
    super(message, { cause });
    this.code = code;
  }
}

const SETTINGS = ["temperature", "topK", "topP", "minP", "repetitionPenalty", "presencePenalty", "frequencyPenalty",
  "penaltyLastN", "ignoreEos", "seed", "stop", "logitBias"];
const PIECE = 2 ** 20;

// How options look to Rust.
export const setsSampling = (options) => SETTINGS.some((key) => options[key] !== undefined);
export const stopsOf = ({ stop = [] }) => [].concat(stop);
export const biasOf = ({ logitBias = {} }) => Object.entries(logitBias).flat().map(Number);
export const numbersOf = (list) => Float64Array.from(list);

// How Rust's answers look to JavaScript: plain objects.
export const pairOf = (ids, logprobs) => ({ ids, logprobs });
export const memoryOf = (total, file, model, session) => ({ total, file, model, session });
export function infoOf(architecture, name, numbers) {
  const [fileSize, parameters, vocabSize, contextLength, maxContextLength, layers, heads, tokenizer, bos, eos, inputs, outputs] = numbers;
  return {
    architecture, name, fileSize, parameters, vocabSize, contextLength, maxContextLength, layers, heads,
    tokenizer: !!tokenizer, bos: bos < 0 ? null : bos, eos: eos < 0 ? null : eos, inputs, outputs,
  };
}

// Gives the page its turn every `ms` milliseconds, across all models.
let since = 0;
async function breathe(ms) {
  if (performance.now() - since < ms) return;
  await new Promise((go) => {
    if (globalThis.scheduler) return scheduler.postTask(go, { priority: "background" });
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => go(port1.close());
    port2.postMessage(0);
  });
  since = performance.now();
}

async function open(source, signal) {
  const response = source instanceof Response ? source : source instanceof Blob ? new Response(source) : await fetch(source, { signal });
  if (!response.ok) throw new PagelmError("HTTP", `status ${response.status}`);
  if (/html/.test(response.headers.get("content-type"))) throw new PagelmError("HTML", "a web page came: check the address");
  return response;
}

/** The pieces of a source, none longer than PIECE. */
async function* pieces(source, signal) {
  if (source.byteLength !== undefined) {
    const bytes = new Uint8Array(source.buffer ?? source, source.byteOffset, source.byteLength);
    for (let at = 0; at < bytes.length; at += PIECE) yield bytes.subarray(at, at + PIECE);
    return;
  }
  const reader = (await open(source, signal)).body.getReader();
  try {
    for (let read; !(read = await reader.read()).done; ) {
      for (let at = 0; at < read.value.length; at += PIECE) yield read.value.subarray(at, at + PIECE);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function progress(onProgress, told) {
  try {
    onProgress?.(told);
  } catch (cause) {
    throw new PagelmError("ON_PROGRESS", cause.message, cause);
  }
}

async function fill(loader, source, { signal, onProgress }) {
  let loaded = 0, whole = false, lost;
  const stream = pieces(source, signal);
  while (!whole) {
    const { value: piece, done } = await stream.next().catch((cause) => {
      if (!loaded || signal?.aborted) throw cause;
      return { done: true, value: (lost = cause) };
    });
    signal?.throwIfAborted();
    const total = loader.fileSize;
    if (done) throw new PagelmError("TRUNCATED", `the data ended after ${loaded} of ${total ?? "?"} bytes`, lost);
    whole = loader.push(piece);
    loaded += piece.length;
    if (!whole) progress(onProgress, { loaded, total: loader.fileSize, phase: "download" });
    await breathe(8);
  }
  await stream.return();
  signal?.throwIfAborted();
  const total = loader.fileSize, model = loader.finish();
  progress(onProgress, { loaded: total, total, phase: "ready" });
  return model;
}

export async function load(loader, source, options = {}) {
  try {
    return await fill(loader, source, options);
  } catch (cause) {
    options.signal?.throwIfAborted();
    const error = cause instanceof PagelmError ? cause : new PagelmError("NETWORK", cause.message, cause);
    error.message = `${source.byteLength !== undefined ? "the bytes given" : source.url || source.name || source}: ${error.message}`;
    throw error;
  } finally {
    loader.free();
  }
}

// `model` is a handle of its own, given back at the end.
async function* run(model, prompt, options = {}, what) {
  const { signal, onToken, yieldMs = 8 } = options;
  let budget = 16, text;
  try {
    text = model[what](prompt, options);
    for (;;) {
      signal?.throwIfAborted();
      const start = performance.now(), step = text.step(budget);
      const room = yieldMs / 2 / (performance.now() - start);
      if (room < 1 || step === "more") budget = Math.ceil(budget * Math.min(room, 2));
      if (step !== "more") {
        const id = text.id, piece = text.text;
        if (step === "token") onToken?.(id, piece);
        yield [step === "token" ? id : -1, piece, text];
      }
      if (step === "finished") return;
      await breathe(yieldMs);
    }
  } finally {
    text?.free();
    model.free();
  }
}

export async function* generate(model, prompt, options) {
  for await (const [, text] of run(model, prompt, options, "start")) if (text) yield text;
}

export async function* generateIds(model, prompt, options) {
  for await (const [id] of run(model, prompt, options, "start")) if (id >= 0) yield id;
}

export async function complete(model, prompt, options) {
  const ids = [];
  let text = "", finish;
  for await (const [id, piece] of run(model, prompt, options, "start")) {
    text += piece;
    if (id >= 0) ids.push(id);
    else finish = model.finish;
  }
  return { text, ids, finish };
}

export async function feed(model, prompt, options) {
  for await (const _ of run(model, prompt, options, "startFeed"));
}

export async function embed(model, prompt, options = {}) {
  for await (const [, , text] of run(model, prompt, options, "startFeed")) return text.embedding(options.pooling);
}
