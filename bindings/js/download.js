// A file from a server, piece by piece: out of the cache as far as it is there, and on from where a
// connection broke. Ranges are asked for plainly, so that a server of another origin needs no
// preflight; what the server says of its version of the file is compared here instead.
import { PagelmError } from "./advice.js";
import { Stored } from "./cache.js";

const PAUSE = 250;
/** For its first answer a server may take its time: what starts slowly is told by the signal alone. */
const FIRST = 2 ** 31 - 1;

/** What an answer says of the file's version. Another origin's server may show less of it. */
function versionOf({ headers, status }) {
  const [, total] = /\/(\d+)$/.exec(headers.get("content-range") ?? "") ?? [];
  const whole = status === 200 && !headers.get("content-encoding") && headers.get("content-length");
  // A compressed answer and a range, which never is, carry variants of one tag.
  const etag = headers.get("etag")?.replace(/^W\/|-(gzip|br|zstd)(?="$)/g, "");
  return { etag: etag ?? null, modified: headers.get("last-modified"), size: Number(total ?? (whole || NaN)) || null };
}

const sameFile = (a, b) => ["etag", "modified", "size"].every((key) => a[key] == null || b[key] == null || a[key] === b[key]);

/** Passes what a caller must hear of at once: no other attempt would help. */
class Final extends PagelmError {}

/** `kept`: it goes to a cache of ours; in the browser's own it would lie twice, and the writing takes longest of all. */
async function request(url, at, signal, kept) {
  const options = kept ? { signal, cache: "no-store" } : { signal };
  const response = await fetch(url, at ? { ...options, headers: { range: `bytes=${at}-` } } : options);
  if (response.status === 416) return response;
  // Part of a compressed file is of no use: the whole of it again, and what is known is skipped.
  if (response.status === 206 && response.headers.get("content-encoding")) return request(url, 0, signal, kept);
  if (!response.ok) throw new (response.status < 500 ? Final : PagelmError)("HTTP", `status ${response.status}`);
  if (/html/.test(response.headers.get("content-type"))) throw new Final("HTML", "a web page came: check the address");
  return response;
}

/** Is what the cache holds still what the server has? Yes, too, if the server cannot be asked. */
async function current(url, version, signal) {
  try {
    const response = await fetch(url, { method: "HEAD", signal, cache: "no-cache" });
    return !response.ok || sameFile(version, versionOf(response));
  } catch {
    signal?.throwIfAborted();
    return true;
  }
}

function pause(ms, signal) {
  return new Promise((go, stop) => {
    signal?.throwIfAborted();
    const timer = setTimeout(go, ms);
    signal?.addEventListener("abort", () => stop(clearTimeout(timer) ?? signal.reason), { once: true });
  });
}

/** The promise's answer, unless it takes longer than a live connection would. */
function timely(promise, ms) {
  return new Promise((done, failed) => {
    const timer = setTimeout(() => failed(new Error(`nothing came for ${ms / 1000} s`)), ms);
    promise.then(done, failed).finally(() => clearTimeout(timer));
  });
}

export class Download {
  /** Bytes that came over the network, and how often it went on after a break. */
  received = 0;
  resumed = 0;
  /** Bytes that the cache had. */
  fromCache = 0;
  /** The cache's copy, where there is one. */
  stored = null;
  #url;
  #signal;
  #retries;
  #stall;
  #fixed;
  #at = 0;

  /** Bytes that were given on so far. */
  get given() {
    return this.#at;
  }

  /** `fixed`: the content is known by its hash, so that the server need not be asked for news. */
  constructor(url, { signal, retries = 3, stallMs = 30_000, fixed = false }) {
    this.#url = url;
    this.#signal = signal;
    this.#retries = retries;
    this.#stall = stallMs;
    this.#fixed = fixed;
  }

  /** The file, with `cached` through the cache. */
  async *pieces(cached) {
    const stored = (this.stored = cached ? await Stored.open(this.#url) : null);
    let response;
    if (stored?.length) response = await this.#revive(stored);
    const version = stored?.version;
    if (stored?.length) {
      try {
        for await (const piece of stored.read()) {
          this.#at = this.fromCache += piece.length;
          yield piece;
        }
      } catch (error) {
        // The browser has dropped a part since: on from here by the network, and nothing more is kept.
        response = response?.body.cancel().catch(() => {}) && null;
        await stored.remove();
        stored.problem = error;
      }
      if (stored.complete) return;
    }
    try {
      for await (const piece of this.#network(response, stored, version)) {
        await stored?.append(piece);
        yield piece;
      }
      await stored?.flush(true);
    } finally {
      await stored?.flush(false); // the next attempt goes on from here
    }
  }

  /** Drops what is out of date; gives the answer that goes on where an incomplete copy ends. */
  async #revive(stored) {
    if (stored.complete) {
      if (!this.#fixed && !(await current(this.#url, stored.version, this.#signal))) await stored.remove();
      return;
    }
    const response = await request(this.#url, stored.length, this.#signal, true);
    if (response.status === 206 && sameFile(stored.version, versionOf(response))) return response;
    await stored.remove();
    return response.status === 200 ? response : undefined;
  }

  async *#network(response, stored, version) {
    let failures = 0;
    for (let begun = this.#at > 0; ; begun = true) {
      try {
        response ??= await timely(request(this.#url, this.#at, this.#signal, stored && !stored.problem), this.#at ? this.#stall : FIRST);
        if (response.status === 416) return;
        const now = versionOf(response);
        if (begun && version && !sameFile(version, now)) throw new Final("CHANGED", "the file changed on the server during the download");
        version = { ...now, size: now.size ?? version?.size ?? null };
        if (stored) stored.version ??= version;
        for await (const piece of this.#body(response)) {
          failures = 0;
          yield piece;
        }
        if (this.#at >= (version.size ?? 0)) return;
        throw new Error("the connection was closed");
      } catch (error) {
        this.#signal?.throwIfAborted();
        if (error instanceof Final || !this.#at || failures++ >= this.#retries) throw error;
      }
      response = null;
      this.resumed++;
      await pause(PAUSE * 2 ** failures, this.#signal);
    }
  }

  /** An answer's bytes, save those that were had before: a server may ignore ranges. */
  async *#body({ body, status }) {
    let skip = status === 206 ? 0 : this.#at;
    const reader = body.getReader();
    try {
      for (;;) {
        const { value, done } = await timely(reader.read(), this.#stall);
        if (done) return;
        this.received += value.length;
        const piece = value.subarray(Math.min(skip, value.length));
        skip -= value.length - piece.length;
        this.#at += piece.length;
        if (piece.length) yield piece;
      }
    } finally {
      reader.cancel().catch(() => {});
    }
  }
}
