// How long the loader keeps the thread in one go: the longest call into the
// engine while a prompt is read and a text written, and the speed.
//
//   node tools/web/slices.mjs MODEL.gguf [scalar|simd128|relaxed] [tokens]
//
// For the 124M shape: tools/reference/make_124m.py writes one with random weights.
import { readFile } from "node:fs/promises";
import { ENGINES, loadModel } from "../../bindings/js/node.js";
import { allowRelaxed } from "./relaxed.mjs";

const [file, build = "simd128", tokens = "48"] = process.argv.slice(2);
if (!file) {
  console.error("usage: node tools/web/slices.mjs MODEL.gguf [scalar|simd128|relaxed] [tokens]");
  process.exit(2);
}
allowRelaxed();
const module = new WebAssembly.Module(await readFile(ENGINES[build]));

const calls = [];
const instantiate = WebAssembly.instantiate;
WebAssembly.instantiate = async (source, ...rest) => {
  const instance = await instantiate(source, ...rest);
  if (source !== module) return instance; // Node's own
  const exports = { ...instance.exports };
  const { pagelm_session_run: run } = exports;
  exports.pagelm_session_run = (...args) => {
    const start = performance.now();
    const status = run(...args);
    calls.push(performance.now() - start);
    return status;
  };
  return { exports };
};

const model = await loadModel(file, { wasm: module });
const prompt = Array.from({ length: Math.min(128, model.info.contextLength >> 1) }, (_, i) => (i * 37) % model.info.vocabSize);
const options = { maxTokens: +tokens, ignoreEos: true };
await model.complete(prompt, options); // warm: the engine's compiler has its turn
calls.length = 0;
const start = performance.now();
let first;
for await (const id of model.generateIds(prompt, options)) first ??= performance.now() + 0 * id;
const end = performance.now();
calls.sort((a, b) => a - b);
const at = (share) => calls[Math.floor(share * (calls.length - 1))].toFixed(2);
console.log(JSON.stringify({
  build, calls: calls.length, ms_median: +at(0.5), ms_p99: +at(0.99), ms_longest: +at(1),
  prefill_tokens_per_second: +((prompt.length / (first - start)) * 1000).toFixed(1),
  decode_tokens_per_second: +(((tokens - 1) / (end - first)) * 1000).toFixed(1),
}));
