// The wasm side of `cargo xtask test carry`: what it writes, the native side goes on with, and the other way around.
//
//   node tools/web/carry.mjs simd128|scalar MODEL.gguf FOLDER text|vectors
//
// text: 30 tokens, a snapshot (wasm.snapshot), 30 more, the end (wasm.end); then from native.snapshot to carried.end.
// vectors: half of the steps, the state (wasm.state), the rest, outputs and state (wasm.end); then from native.state to
// carried.end; and 10,000 steps one by one and in one call, which must agree.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadModel } from "../../bindings/js/node.js";

const [build, file, folder, kind] = process.argv.slice(2);
const model = await loadModel(file, { build });
const put = (name, bytes) => writeFile(join(folder, name), bytes);
const bytesOf = (floats) => new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
const floatsOf = (bytes) => new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));

async function text() {
  const SAMPLING = { temperature: 0.9, topK: 12, seed: 5, ignoreEos: true };
  const write = async (prompt, options) => {
    for await (const _ of model.generateIds(prompt, { maxTokens: 30, ...options }));
  };
  await write([1, 2, 3, 4, 5], SAMPLING);
  await put("wasm.snapshot", model.snapshot());
  await write([], { keep: true });
  await put("wasm.end", model.snapshot());
  model.restore(new Uint8Array(await readFile(join(folder, "native.snapshot"))));
  await write([], { keep: true });
  await put("carried.end", model.snapshot());
}

async function vectors() {
  const STEPS = 10_000, { inputs } = model.info;
  const input = Float32Array.from({ length: STEPS * inputs }, (_, i) => ((i * 37) % 101) / 50 - 1);
  const half = (STEPS / 2) * inputs;
  const end = async (name, options) => {
    const outputs = model.predict(input.subarray(half), { everyStep: true, ...options });
    await put(name, Buffer.concat([bytesOf(outputs), bytesOf(model.state())]));
  };
  model.predict(input.subarray(0, half));
  await put("wasm.state", bytesOf(model.state()));
  await end("wasm.end", { keep: true });
  model.reset();
  model.state(floatsOf(await readFile(join(folder, "native.state"))));
  await end("carried.end", { keep: true });

  const whole = model.predict(input, { everyStep: true }), after = model.state();
  model.reset();
  const n = whole.length / STEPS, steps = new Float32Array(whole.length);
  for (let i = 0; i < STEPS; i++) steps.set(model.predict(input.subarray(i * inputs, (i + 1) * inputs), { keep: true }), i * n);
  const same = (a, b) => Buffer.compare(bytesOf(a), bytesOf(b)) === 0;
  if (!same(whole, steps) || !same(after, model.state())) throw new Error("10,000 steps are not one call");
  await put("wasm.whole", Buffer.concat([bytesOf(whole), bytesOf(after)]));
}

await { text, vectors }[kind]();
