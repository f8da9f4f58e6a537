// The module against PyTorch's outputs of the bundled filter. FILTER_WASM and FILTER_MODEL name the files.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { loadFilter } from "./filter.mjs";

const numbers = (name) => {
  const lines = readFileSync(new URL(`../../tests/data/denoise/${name}.txt`, import.meta.url), "utf8").trim().split("\n");
  return Float32Array.from(lines, Number);
};
const module = new WebAssembly.Module(readFileSync(process.env.FILTER_WASM));
const model = readFileSync(process.env.FILTER_MODEL);
const noisy = numbers("noisy"), want = numbers("filtered");

test("it imports nothing, and exports what its page calls", () => {
  assert.deepEqual(WebAssembly.Module.imports(module), []);
  const names = WebAssembly.Module.exports(module).map(({ name }) => name).filter((name) => name !== "__heap_base");
  assert.deepEqual(names.sort(), ["filter", "input", "load", "memory", "output", "place"]);
});

test("it gives what PyTorch gives", async () => {
  const filter = await loadFilter(module, model);
  const got = filter(noisy);
  assert.equal(got.length, want.length);
  const worst = Math.max(...got.map((v, i) => Math.abs(v - want[i])));
  assert.ok(worst < 2e-6, `${worst}`);
});

test("samples one by one are the whole signal, to the bit", async () => {
  const [whole, single] = [await loadFilter(module, model), await loadFilter(module, model)];
  const out = new Float32Array(noisy.length);
  assert.equal(whole(noisy, out), out);
  assert.deepEqual(Float32Array.from(noisy, (v) => single(Float32Array.of(v))[0]), out);
});

test("a model can be loaded anew: the state begins anew", async () => {
  const { memory, place, input, output, load, filter } = new WebAssembly.Instance(module).exports;
  assert.equal(filter(1), -26, "nothing is loaded yet");
  const first = () => {
    new Uint8Array(memory.buffer, place()).set(model);
    assert.equal(load(model.length), 0);
    new Float32Array(memory.buffer, input()).set(noisy.subarray(0, 128));
    assert.equal(filter(128), 128);
    return new Float32Array(memory.buffer, output(), 128).slice();
  };
  assert.deepEqual(first(), first());
  assert.equal(filter(129), -35, "more than a block");
  assert.equal(load(65537), -15, "more than the room");
  assert.equal(filter(1), -26, "and then nothing is loaded");
  new Uint8Array(memory.buffer, place()).fill(0, 0, 4);
  assert.equal(load(model.length), -2, "no model file");
  assert.equal(filter(1), -26, "and then nothing is loaded");
});

test("what is no packed model is refused with a status", async () => {
  const plain = readFileSync(new URL("../models/denoise.gguf", import.meta.url));
  await assert.rejects(loadFilter(module, plain), /-7/);
  await assert.rejects(loadFilter(module, model.subarray(0, 100)), /-1\b/);
  await assert.rejects(loadFilter(module, new Uint8Array(65537)), /65537 bytes/);
});
