// A text's fingerprint: FNV-1a, 64 bits, over its token ids as little-endian 32-bit numbers
// (http://www.isthe.com/chongo/tech/comp/fnv/). `pagelm generate` tells the same as `ids_fnv1a64`.

const PRIME = 0x100000001b3n;
const MASK = 0xffffffffffffffffn;

export class Fingerprint {
  count = 0;
  #hash = 0xcbf29ce484222325n;

  add(id) {
    this.count++;
    for (let shift = 0; shift < 32; shift += 8) this.#hash = ((this.#hash ^ BigInt((id >>> shift) & 255)) * PRIME) & MASK;
  }

  /** Sixteen hexadecimal digits. */
  toString() {
    return this.#hash.toString(16).padStart(16, "0");
  }
}

/** Writes the text that `check` of models.json describes: does this browser write the same? */
export async function sameText(model, check, signal) {
  const fingerprint = new Fingerprint();
  const { prompt, tokens, temperature, seed } = check;
  const options = { maxTokens: tokens, temperature, seed, ignoreEos: true, signal };
  for await (const id of model.generateIds(prompt, options)) fingerprint.add(id);
  return { hash: String(fingerprint), same: String(fingerprint) === check.hash };
}
