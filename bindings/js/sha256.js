// SHA-256 (FIPS 180-4) piece by piece, which WebCrypto cannot do: a model is checked while it streams.
import { PagelmError } from "./advice.js";

const primes = [2];
for (let n = 3; primes.length < 64; n += 2) if (primes.every((p) => n % p)) primes.push(n);
const fraction = (x) => ((x - Math.floor(x)) * 2 ** 32) | 0;
const K = Int32Array.from(primes, (p) => fraction(Math.cbrt(p)));
const START = primes.slice(0, 8).map((p) => fraction(Math.sqrt(p)));

export class Sha256 {
  #state = Int32Array.from(START);
  #w = new Int32Array(64);
  #block = new Uint8Array(64);
  #length = 0;

  update(bytes) {
    let at = 0;
    const used = this.#length % 64;
    this.#length += bytes.length;
    if (used) {
      at = Math.min(64 - used, bytes.length);
      this.#block.set(bytes.subarray(0, at), used);
      if (used + at < 64) return this;
      this.#compress(this.#block, 0);
    }
    for (; at + 64 <= bytes.length; at += 64) this.#compress(bytes, at);
    this.#block.set(bytes.subarray(at));
    return this;
  }

  /** The 32 bytes; nothing can follow. */
  digest() {
    const bits = this.#length * 8, end = new Uint8Array(((119 - (this.#length % 64)) % 64) + 9);
    end[0] = 0x80;
    new DataView(end.buffer).setUint32(end.length - 8, bits / 2 ** 32);
    new DataView(end.buffer).setUint32(end.length - 4, bits >>> 0);
    this.update(end);
    const out = new DataView(new ArrayBuffer(32));
    this.#state.forEach((word, i) => out.setInt32(4 * i, word));
    return new Uint8Array(out.buffer);
  }

  #compress(bytes, at) {
    const w = this.#w, s = this.#state;
    for (let i = 0; i < 16; i++, at += 4) w[i] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15], y = w[i - 2];
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    let a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
    for (let i = 0; i < 64; i++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      (h = g), (g = f), (f = e), (e = (d + t1) | 0), (d = c), (c = b), (b = a), (a = (t1 + t2) | 0);
    }
    (s[0] += a), (s[1] += b), (s[2] += c), (s[3] += d), (s[4] += e), (s[5] += f), (s[6] += g), (s[7] += h);
  }
}

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** A hash in hexadecimal, from 64 such digits or from `sha256-BASE64` as in a page's `integrity`. */
export function wanted(integrity) {
  const text = String(integrity).trim();
  if (/^[0-9a-f]{64}$/i.test(text)) return text.toLowerCase();
  const base64 = /^sha256-([A-Za-z0-9+/]{43}=)$/.exec(text);
  if (base64) return hex(Uint8Array.from(atob(base64[1]), (c) => c.charCodeAt(0)));
  throw new PagelmError("BAD_PARAM", `integrity is "${text}": it must be sha256- and 44 characters of base64, or 64 hexadecimal digits`);
}

/** Passes pieces on; after the last one `compare(hash)` is called with their hash in hexadecimal. */
export async function* hashed(pieces, compare) {
  const sum = new Sha256();
  for await (const piece of pieces) {
    sum.update(piece);
    yield piece;
  }
  compare(hex(sum.digest()));
}
