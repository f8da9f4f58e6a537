// How the loader behaves as part of a page: its size, its policy, its turns.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { brotliCompressSync } from "node:zlib";
import { PagelmError, loadModel } from "../node.js";
import { loadModel as loadByCore } from "../pagelm.js";
import { BYTES, WASM, allowRelaxed, read } from "./helpers.mjs";

const loader = readFileSync(new URL("../pagelm.js", import.meta.url));
const text = (name) => readFileSync(new URL(`../${name}`, import.meta.url), "utf8");
const MODULES = readdirSync(new URL("..", import.meta.url)).filter((name) => name.endsWith(".js") && !name.startsWith("node"));

test("the loader is at most 4 KiB in brotli, as it is", () => {
  assert.ok(brotliCompressSync(loader).length <= 4096, `${brotliCompressSync(loader).length} bytes`);
});

test("the loader needs no more than script-src 'self' 'wasm-unsafe-eval'", () => {
  const text = loader.toString();
  assert.doesNotMatch(text, /\beval\b|new Function|\bimport\s*\(|createObjectURL|https?:/);
  assert.doesNotMatch(text, /^import /m);
  // Bundlers recognise only this form, with the name in it.
  for (const name of ["pagelm.wasm", "pagelm-relaxed.wasm", "pagelm-scalar.wasm"]) assert.ok(text.includes(`new URL("${name}", import.meta.url)`));
});

test("the engine needs nothing from outside", () => {
  allowRelaxed();
  for (const url of Object.values(WASM)) {
    assert.deepEqual(WebAssembly.Module.imports(new WebAssembly.Module(read(url))), []);
  }
});

test("no other module of a page needs more, nor names another place", () => {
  assert.ok(MODULES.length > 8, `${MODULES}`);
  for (const name of MODULES) {
    // Comments may say what they like.
    const code = text(name).replace(/^\s*(\/\/|\*|\/\*).*$/gm, "");
    assert.doesNotMatch(code, /\beval\s*\(|new Function|\bimport\s*\(|createObjectURL|https?:\/\/|from "(?!\.\/)/, name);
  }
  assert.ok(text("index.js").includes('new Worker(new URL("./worker.js", import.meta.url), { type: "module"'));
});

test("the package holds every file that its modules and types name", () => {
  const { exports, sideEffects } = JSON.parse(text("package.json"));
  const named = Object.values(exports).flatMap((it) => (typeof it === "string" ? it : Object.values(it))).concat(sideEffects);
  for (const name of MODULES.concat("node.js", "node-load.js", "node-worker.js")) {
    named.push(...[...text(name).matchAll(/(?:from|new URL\()\s*"(\.?\/?[\w./-]+)"/g)].map((match) => match[1]).filter((it) => !it.startsWith("node:")));
  }
  for (const name of new Set(named)) assert.ok(text(name.replace(/^\.\//, "")).length > 0, name);
});

test("the types name exactly what a model has", async () => {
  const core = text("pagelm.d.ts"), whole = text("index.d.ts");
  const names = (types, name) => [...types.match(new RegExp(`interface ${name}(?: extends \\w+)? \\{\\n(.*?)\\n\\}`, "s"))[1]
    .matchAll(/^  (?:readonly )?(\w+)[(:?]/gm)].map((match) => match[1]);
  const keys = (model) => Object.keys(model).sort();
  const sorted = (...names) => [...new Set(names.flat())].sort();
  const bytes = read(BYTES), wasm = read(WASM.simd128);
  for (const [load, want] of [[loadByCore, names(core, "Model")], [loadModel, [...names(core, "Model"), ...names(whole, "Model")]]]) {
    const model = await load(bytes, { wasm });
    await model.complete("a", { maxTokens: 1 });
    assert.deepEqual(keys(model), sorted(want));
    assert.deepEqual(keys(model.info), sorted(names(core, "ModelInfo")));
    assert.deepEqual(keys(model.memory), sorted(names(core, "MemoryInfo")));
    if (model.raw) assert.deepEqual(keys(model.raw()), sorted(names(core, "Raw")));
  }
});

test("every error of the engine and the loader has its advice", () => {
  const header = readFileSync(new URL("../../../include/pagelm.h", import.meta.url), "utf8");
  const engine = [...header.matchAll(/#define PAGELM_ERROR_(\w+) /g)].map((match) => match[1]);
  const loader = [...text("pagelm.d.ts").matchAll(/^ \* - `(\w+)`/gm)].map((match) => match[1]);
  // What only a C program can do wrong: a person cannot mend it, and is asked to report it.
  const ours = ["MISALIGNED", "NOT_LOADED", "NULL", "DEAD_HANDLE", "BAD_STRUCT", "BUFFER_TOO_SMALL", "INTERNAL", "OVERLAP", "BAD_RANGE"];
  assert.ok(engine.length > 30 && loader.length >= 7);
  for (const code of [...engine, ...loader, "WORKER", "CHANGED", "INTEGRITY"]) {
    assert.equal(/report it/.test(new PagelmError(code, "").advice), ours.includes(code), code);
  }
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

test("every attribute, part, variable and event of the element is explained", () => {
  const code = text("element.js"), style = text("element-style.js");
  const found = (source, pattern) => [...source.matchAll(pattern)].map((match) => match[1]);
  const named = {
    attribute: [...found(code, /(?:getAttribute|hasAttribute|given)\("([\w-]+)"\)/g), ...found(code, /^ {2}(?:.*, )?"?([\w-]+)"?: "\w+",?$/gm),
      ...["prompt", "placeholder", "label", "rows", "settings", "temperature", "seed", "top-p"]],
    part: found(code, /part: "([\w-]+)"/g),
    variable: found(style, /(--pagelm-[\w-]+)/g),
    event: found(code, /#tell\("(\w+)"/g).map((name) => `pagelm-${name}`),
  };
  const pages = [text("element.d.ts"), text("../../docs/JAVASCRIPT.md").split("## The element")[1]];
  for (const [what, names] of Object.entries(named)) {
    assert.ok(new Set(names).size >= 5, `${what}: ${names}`);
    for (const name of names) for (const page of pages) assert.match(page, new RegExp("[`\"]" + name + "[`\"]"), `${what} ${name}`);
  }
});

test("docs/JAVASCRIPT.md names every option, method and code of the loader", () => {
  const page = text("../../docs/JAVASCRIPT.md"), types = text("pagelm.d.ts") + text("index.d.ts");
  const bodies = [...types.matchAll(/interface (?:LoadOptions|SharedOptions|WorkerLoadOptions|Sampling|FeedOptions|GenerateOptions|PredictOptions|EmbedOptions|Model)\b[^{]*\{\n(.*?)\n\}/gs)];
  const names = bodies.flatMap(([, body]) => [...body.matchAll(/^ {2}(?:readonly )?(\w+)[?(:]/gm)].map((match) => match[1]));
  names.push(...[...types.matchAll(/^ \* - `(\w+)`/gm)].map((match) => match[1]), "WORKER", "CHANGED", "INTEGRITY", "clearCache");
  assert.ok(names.length > 50, `${names.length}`);
  const missing = [...new Set(names)].filter((name) => !new RegExp(`\\b${name}\\b`).test(page));
  assert.deepEqual(missing, ["flags"]); // for raw() alone: pagelm.d.ts says what it is
});
