// What every page and program of the package step does: the same two texts, as hashes of their tokens.
const REQUESTS = {
  greedy: ["gpt2-basic-lexicon.gguf", { temperature: 0 }],
  sampled: ["gpt2-basic-bytes.gguf", { temperature: 0.8, seed: 42 }],
};

/** FNV-1a, 64 bits, over the ids as little-endian u32. */
function hash(ids) {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new Uint8Array(Uint32Array.from(ids).buffer)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash.toString(16).padStart(16, "0");
}

export async function check(loadModel, models, options) {
  const result = {};
  for (const [name, [file, sampling]] of Object.entries(REQUESTS)) {
    const model = await loadModel(new URL(file, models), options);
    const { ids, text } = await model.complete("The ", { ...sampling, maxTokens: 64 });
    result[name] = hash(ids);
    result.text ??= text;
    model.dispose();
  }
  return result;
}

/** Leaves a page's answer where the driver looks, and shows it to a person. */
export async function answer(work) {
  const result = await work().catch((error) => ({ error: `${error.code ?? ""} ${error.stack ?? error}` }));
  const shown = globalThis.document?.querySelector("output");
  if (shown) shown.textContent = result.error ?? result.text;
  globalThis.answer = result;
}
