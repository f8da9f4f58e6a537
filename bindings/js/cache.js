// Model files kept in the browser's Cache API, which pages, workers and service workers of every
// browser have. A file is a chain of parts, each stored under the file's address and the offset at
// which it begins, so that a download which broke off goes on at its last byte, also days later.

const NAME = "pagelm-models";
const HEADER = "x-pagelm-part";
const PART = 4 << 20;

const keyOf = (url, at) => {
  const key = new URL(url);
  key.hash = "";
  key.searchParams.append("pagelm-part", at);
  return key.href;
};

/** What the cache holds of one address. */
export class Stored {
  /** What the server said of this version of the file: etag, date, size. */
  version = null;
  /** Bytes in the chain, from the file's first. */
  length = 0;
  /** The chain is the whole file. */
  complete = false;
  /** Why nothing more is stored; the load goes on without. */
  problem = null;
  #url;
  #cache;
  #pending = [];
  #waiting = 0;

  /** Never fails: where there is no cache, nothing is stored and `problem` says why. */
  static async open(url) {
    const stored = new Stored();
    stored.#url = url;
    try {
      if (!globalThis.caches) throw new Error("no Cache API here: it needs a browser and a secure origin (https: or localhost)");
      stored.#cache = await caches.open(NAME);
      await stored.#measure();
    } catch (error) {
      stored.problem = error;
    }
    return stored;
  }

  async #measure() {
    for await (const [, part] of this.#chain()) {
      this.version ??= part.version;
      this.length += part.size;
      this.complete = part.last;
    }
  }

  async *#chain() {
    for (let at = 0, last = false, version; !last; ) {
      const response = await this.#cache.match(keyOf(this.#url, at));
      const part = response && JSON.parse(response.headers.get(HEADER));
      if (!part || JSON.stringify(part.version) !== (version ??= JSON.stringify(part.version))) return;
      yield [response, part];
      at += part.size;
      last = part.last;
    }
  }

  /** The stored bytes, piece by piece. */
  async *read() {
    let left = this.length;
    for await (const [response] of this.#chain()) {
      for (const reader = response.body.getReader(); left > 0; ) {
        const { value, done } = await reader.read();
        if (done) break;
        left -= value.length;
        yield value;
      }
      if (left <= 0) return;
    }
    if (left) throw new Error("the browser has dropped a part of the stored model");
  }

  /** Keeps a piece, which goes on where the chain ends. */
  async append(piece) {
    if (this.problem) return;
    this.#pending.push(piece);
    this.#waiting += piece.length;
    if (this.#waiting >= PART) await this.flush(false);
  }

  /** Writes what was kept. `last`: the file is whole. */
  async flush(last) {
    if (this.problem || (!this.#waiting && !last)) return;
    const part = { version: this.version, size: this.#waiting, last };
    const headers = { "content-type": "application/octet-stream", [HEADER]: JSON.stringify(part) };
    const response = new Response(new Blob(this.#pending), { headers });
    [this.#pending, this.#waiting] = [[], 0];
    try {
      await this.#cache.put(keyOf(this.#url, this.length), response);
      this.length += part.size;
      this.complete = last;
    } catch (error) {
      await this.remove();
      this.problem = error; // a quota that is full, or storage that is switched off
    }
  }

  /** Forgets the file. */
  async remove() {
    if (!this.#cache) return;
    try {
      await removeParts(this.#cache, this.#url);
    } catch (error) {
      this.problem = error;
    }
    Object.assign(this, { version: null, length: 0, complete: false });
    [this.#pending, this.#waiting] = [[], 0];
  }
}

async function removeParts(cache, url) {
  const first = keyOf(url, "");
  for (const { url } of await cache.keys()) if (url.startsWith(first)) await cache.delete(url);
}

/** Removes a stored model, or all of them. */
export async function clearCache(url) {
  if (!globalThis.caches) return;
  if (url === undefined) await caches.delete(NAME);
  else await removeParts(await caches.open(NAME), new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href));
}
