// Memory: laid out once, to the byte that the header promises, and never grown while generating.
import assert from "node:assert/strict";
import { test } from "node:test";
import { loadModel } from "../node.js";
import { BYTES, LEXICON, collect, read } from "./helpers.mjs";

const PAGE = 65536;

/** Runs `work` and tells every growth of a WebAssembly memory: [pages, bytes before]. */
async function growths(t, work) {
  const seen = [];
  const grow = WebAssembly.Memory.prototype.grow;
  const spy = t.mock.method(WebAssembly.Memory.prototype, "grow", function (pages) {
    if (pages) seen.push([pages, this.buffer.byteLength]);
    return grow.call(this, pages);
  });
  try {
    return [await work(), seen];
  } finally {
    spy.mock.restore();
  }
}

test("grows once after the header, to exactly what is needed", async (t) => {
  const bytes = read(LEXICON);
  const header = 200_000; // more than this model's header
  const stream = new ReadableStream({
    start(controller) {
      controller.enqueue(bytes.slice(0, header));
      for (let at = header; at < bytes.length; at += 50_000) controller.enqueue(bytes.slice(at, at + 50_000));
      controller.close();
    },
  });
  const [model, seen] = await growths(t, () => loadModel(new Response(stream)));
  assert.ok(seen.length <= 2, `one for the header, one for all the rest: ${JSON.stringify(seen)}`);
  const { total, file, model: tables, session } = model.memory;
  assert.equal(file, model.info.fileSize);
  const [pages, before] = seen.at(-1);
  assert.equal(total, before + pages * PAGE);
  // What is not file, tables and session: the engine's own data and stack, and room for prompts.
  assert.ok(total - file - tables - session < 6 * PAGE, JSON.stringify(model.memory));
});

test("does not grow while generating, feeding, tokenizing or scoring", async (t) => {
  const model = await loadModel(BYTES);
  const { total } = model.memory;
  const [, seen] = await growths(t, async () => {
    for (let seed = 0; seed < 5; seed++) {
      await collect(model.generate("The model ", { seed, temperature: 1, topK: 20, stop: ["x"], logitBias: { 5: 1 }, ignoreEos: true }));
      model.topLogprobs(10);
      model.logits();
      model.detokenize(model.tokenize("a".repeat(1500)));
      await model.feed("a");
      model.reset();
    }
  });
  assert.deepEqual(seen, []);
  assert.equal(model.memory.total, total);
});

test("grows for a snapshot by no more than it, and only the first time", async (t) => {
  const model = await loadModel(BYTES);
  await model.feed("a".repeat(150));
  const before = model.memory.total;
  const [kept] = await growths(t, () => model.snapshot());
  const grown = model.memory.total - before;
  assert.ok(grown > 0 && grown <= kept.length + PAGE, `${grown} for ${kept.length}`);
  const [, again] = await growths(t, () => {
    model.restore(kept);
    assert.equal(model.snapshot().length, kept.length);
  });
  assert.deepEqual(again, []);
});

test("is smaller with a shorter context", async () => {
  const [short, long] = [await loadModel(BYTES, { contextLength: 16 }), await loadModel(BYTES)];
  assert.equal(short.info.contextLength, 16);
  assert.equal(short.info.maxContextLength, 192);
  assert.ok(short.memory.session < long.memory.session / 2);
});

test("a model too large for any memory is refused in words", async (t) => {
  const grow = WebAssembly.Memory.prototype.grow;
  t.mock.method(WebAssembly.Memory.prototype, "grow", function (pages) {
    if (pages > 2) throw new RangeError("no");
    return grow.call(this, pages);
  });
  await assert.rejects(loadModel(BYTES), (error) => error.code === "OUT_OF_MEMORY" && /\d+ bytes/.test(error.message));
});

test("does not grow over 20 loads and disposals, here and in workers", async (t) => {
  if (!globalThis.gc) (await import("node:v8")).setFlagsFromString("--expose-gc");
  const gc = globalThis.gc ?? (await import("node:vm")).runInNewContext("gc");
  const cycle = async (where) => {
    const model = await loadModel(LEXICON, { where });
    await model.complete("The ", { maxTokens: 4 });
    model.dispose();
  };
  const held = async (where) => {
    for (let i = 0; i < 5; i++) await cycle(where);
    const settle = async () => {
      for (let i = 0; i < 4; i++) await new Promise((go) => setTimeout(go, 20)).then(gc);
      const { arrayBuffers, external, heapUsed } = process.memoryUsage();
      return Math.max(arrayBuffers, external) + heapUsed;
    };
    const before = await settle();
    for (let i = 0; i < 20; i++) await cycle(where);
    return (await settle()) - before;
  };
  const size = read(LEXICON).length;
  for (const where of ["main", "worker"]) {
    const grown = await held(where);
    t.diagnostic(`${where}: ${Math.round(grown / 1024)} KiB after 20 cycles of a model of ${Math.round(size / 1024)} KiB`);
    // One model that stayed would be a whole file more, twenty of them twenty.
    assert.ok(grown < 2 * size, `${where}: ${grown} bytes more`);
  }
});
