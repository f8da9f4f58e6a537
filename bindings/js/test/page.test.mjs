// How the loader behaves as part of a page: its size, its policy, its turns.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { brotliCompressSync } from "node:zlib";
import { loadModel } from "../node.js";
import { BYTES, WASM, read } from "./helpers.mjs";

const loader = readFileSync(new URL("../pagelm.js", import.meta.url));
const types = readFileSync(new URL("../pagelm.d.ts", import.meta.url), "utf8");

test("the loader is at most 4 KiB in brotli, as it is", () => {
  assert.ok(brotliCompressSync(loader).length <= 4096, `${brotliCompressSync(loader).length} bytes`);
});

test("the loader needs no more than script-src 'self' 'wasm-unsafe-eval'", () => {
  const text = loader.toString();
  assert.doesNotMatch(text, /\beval\b|new Function|\bimport\s*\(|createObjectURL|https?:/);
  assert.doesNotMatch(text, /^import /m);
  // Bundlers recognise only this form, with the name in it.
  for (const name of ["pagelm.wasm", "pagelm-scalar.wasm"]) assert.ok(text.includes(`new URL("${name}", import.meta.url)`));
});

test("the engine needs nothing from outside", () => {
  for (const url of Object.values(WASM)) {
    assert.deepEqual(WebAssembly.Module.imports(new WebAssembly.Module(read(url))), []);
  }
});

test("the types name exactly what a model has", async () => {
  const model = await loadModel(BYTES);
  const body = (name) => types.match(new RegExp(`interface ${name} \\{\\n(.*?)\\n\\}`, "s"))[1];
  const names = (name) => [...body(name).matchAll(/^  (?:readonly )?(\w+)[(:?]/gm)].map((match) => match[1]).sort();
  await model.complete("a", { maxTokens: 1 });
  assert.deepEqual(Object.keys(model).sort(), [...new Set(names("Model"))]);
  assert.deepEqual(Object.keys(model.info).sort(), names("ModelInfo"));
  assert.deepEqual(Object.keys(model.memory).sort(), names("MemoryInfo"));
});

test("a long text leaves the page its turns", async () => {
  const model = await loadModel(BYTES);
  let turns = 0;
  let running = true;
  const count = () => running && (turns++, setImmediate(count));
  setImmediate(count);
  for await (const _ of model.generate("The model ", { maxTokens: 100, yieldMs: 0, ignoreEos: true }));
  running = false;
  assert.ok(turns >= 100, `${turns} turns`);
});

test("one call is cut into slices where a token takes long", async () => {
  const model = await loadModel(BYTES);
  const prompt = "a".repeat(180);
  let turns = 0;
  let running = true;
  const count = () => running && (turns++, setImmediate(count));
  setImmediate(count);
  await model.feed(prompt, { yieldMs: 0 });
  running = false;
  assert.ok(turns >= 5, `${turns} turns`);
});

test("nothing runs ahead of the reader", async () => {
  const model = await loadModel(BYTES);
  let made = 0;
  const text = model.generate("The model ", { onToken: () => made++ });
  for (let i = 1; i <= 10; i++) {
    await text.next();
    await new Promise((go) => setTimeout(go, 2));
    assert.equal(made, i);
  }
  await text.return();
});
