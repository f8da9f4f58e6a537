// `loadModel` of the whole entry, in this thread: the loader of pagelm.js, with downloads that go on
// after a break, the cache, and the check of a hash.
import { PagelmError } from "./advice.js";
import { Download } from "./download.js";
import { flagsOf, withMethods } from "./methods.js";
import { loadModel } from "./pagelm.js";
import { hashed, wanted } from "./sha256.js";

const PIECE = 1 << 18;
/** Errors of a file that is not worth keeping. */
const DAMAGED = ["INTEGRITY", "CHANGED", "BAD_MAGIC", "BAD_VERSION", "CORRUPT", "BAD_VALUE", "BAD_SHAPE", "NOT_FINITE", "MISSING_KEY", "MISSING_TENSOR"];

export async function loadHere(source, options = {}) {
  const { cache, integrity, retries, stallMs, where, embedding, attention, halfCache, lowMemory, ...rest } = options;
  rest.flags = flagsOf(options);
  const hash = integrity == null ? null : wanted(integrity);
  const url = typeof source === "string" || source instanceof URL ? absolute(source) : null;
  if (!url && !hash) return withMethods(await loadModel(source, rest), null, options);
  if (!url) return withMethods(await checked(source, rest, hash), null, options);
  const again = cache && rest.wasm instanceof Response ? { ...rest, wasm: rest.wasm.clone() } : rest;
  const how = { cache, hash, retries, stallMs };
  const first = await fetched(url, rest, how);
  // What the cache held was damaged or replaced: once more, from the server.
  const { model, error, download } = first.again ? await fetched(url, again, how) : first;
  if (!model) throw error;
  return withMethods(model, report(download), options);
}

/** An address as the page means it. */
export const absolute = (url) => new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href).href;

/** Bytes, a file or an answer, held against a hash. */
async function checked(source, options, hash) {
  const pieces = source.byteLength === undefined ? streamed(source.body ?? new Blob(source.stream ? [source] : []).stream()) : cut(source);
  const flow = hashed(pieces, compare(hash, source.url || source.name || "the bytes given"));
  const { status, headers } = source instanceof Response ? source : {};
  const { model, error } = await feed(flow, options, { status, headers, url: source.url || source.name || "the bytes given" });
  if (!model) throw error;
  return model;
}

async function fetched(url, options, { cache, hash, retries, stallMs }) {
  const stop = new AbortController(), { signal } = options;
  const abort = () => stop.abort(signal.reason);
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort);
  const download = new Download(url, { signal: stop.signal, retries, stallMs, fixed: !!hash });
  const pieces = download.pieces(cache);
  const { model, error } = await feed(hash ? hashed(pieces, compare(hash, url)) : pieces, options, { url, whole: !!cache || !!hash });
  signal?.removeEventListener("abort", abort);
  stop.abort(); // nothing more is wanted, whatever is still on its way
  if (model) return { model, download };
  if (signal?.aborted) return { error };
  const told = truth(error, url, download), damaged = DAMAGED.includes(told.code);
  if (damaged) await download.stored?.remove();
  return { error: told, again: damaged && download.fromCache > 0 };
}

/** Gives pieces to the engine, and reads on to the end where the whole file matters. */
async function feed(pieces, options, { url, status, headers, whole = true }) {
  const iterator = pieces[Symbol.asyncIterator]();
  let next = iterator.next(), model;
  next.catch(() => {}); // the engine may fail before it asks
  const stream = new ReadableStream({
    async pull(controller) {
      const { value, done } = await next;
      if (done) return controller.close();
      controller.enqueue(value);
      next = iterator.next();
      next.catch(() => {});
    },
  }, { highWaterMark: 0 });
  const response = Object.defineProperty(new Response(stream, { status, headers }), "url", { value: url });
  try {
    model = await loadModel(response, options);
    if (whole) while (!(await next).done) next = iterator.next();
    else iterator.return().catch(() => {});
    return { model };
  } catch (error) {
    model?.dispose();
    iterator.return().catch(() => {});
    return { error };
  }
}

/** The engine sees only that the bytes ended; here it is known why. */
function truth(error, url, download) {
  const { cause } = error;
  if (error.code !== "TRUNCATED" || !cause) return error;
  if (cause instanceof PagelmError) return new PagelmError(cause.code, `${url}: ${cause.message}`, cause.cause);
  return download.given ? error : new PagelmError("NETWORK", `${url}: ${cause.message}`, cause);
}

const compare = (hash, name) => (got) => {
  if (got !== hash) throw new PagelmError("INTEGRITY", `${name}: its SHA-256 is ${got}, not ${hash}`);
};

function report({ received, resumed, fromCache, stored }) {
  const { problem } = stored ?? {};
  return {
    from: fromCache ? (received ? "both" : "cache") : "network",
    received, resumed, stored: !!stored?.complete,
    problem: problem ? `${problem.name}: ${problem.message}` : null,
  };
}

async function* streamed(body) {
  const reader = body.getReader();
  try {
    for (let it; !(it = await reader.read()).done; ) yield it.value;
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function* cut(source) {
  const bytes = new Uint8Array(source.buffer ?? source, source.byteOffset, source.byteLength);
  for (let at = 0; at < bytes.length; at += PIECE) yield bytes.subarray(at, at + PIECE);
}
