// `where: "worker"`: the same texts, errors and stops as in this thread, one token at a time.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { PagelmError, loadModel } from "../node.js";
import { BYTES, LEXICON, SORT, WASM, collect, dribble, failure, fnv1a64, read, send, serve } from "./helpers.mjs";

const PROMPT = "The ";
const here = await loadModel(LEXICON);
const there = await loadModel(LEXICON, { where: "worker" });
const file = read(LEXICON);
let server;

before(async () => {
  server = await serve({ "/model": send(file), "/slow": dribble(file, 20_000), "/stalled": (response) => response.writeHead(200).write(file.subarray(0, 60_000)) });
});
after(() => {
  server.close();
  there.dispose();
});

async function fails(promise, code, pattern = /./) {
  const error = await failure(promise);
  assert.ok(error instanceof PagelmError, `${error?.stack}`);
  assert.equal(error.code, code, error.message);
  assert.match(error.message, pattern);
  assert.ok(error.advice.length > 10);
  return error;
}

describe("the same as in this thread", () => {
  test("64 tokens, greedy and sampled", async () => {
    const greedy = { maxTokens: 64, temperature: 0 };
    const { ids } = await there.complete(PROMPT, greedy);
    assert.equal(fnv1a64(ids), "0f452fa7a70c3f84");
    const bytes = await loadModel(BYTES, { where: "worker", build: "scalar" });
    assert.equal(fnv1a64((await bytes.complete(PROMPT, { maxTokens: 64, temperature: 0.8, seed: 42 })).ids), "166b3f2a5d968e12");
    bytes.dispose();
  });

  test("every method, but with a promise", async () => {
    const options = { maxTokens: 12, seed: 5, temperature: 0.9, stop: ["zzz"] };
    const text = await collect(here.generate(PROMPT, options));
    assert.deepEqual(await collect(there.generate(PROMPT, options)), text);
    assert.equal(there.finish, here.finish);
    assert.deepEqual(Object.keys(there).sort(), Object.keys(here).filter((key) => key !== "raw").sort());
    assert.deepEqual(await collect(there.generateIds(PROMPT, options)), await collect(here.generateIds(PROMPT, options)));
    const ids = await there.tokenize("The machine");
    assert.deepEqual(ids, here.tokenize("The machine"));
    assert.equal(await there.detokenize(ids), "The machine");
    await Promise.all([here.feed(PROMPT), there.feed(PROMPT)]);
    assert.deepEqual(await there.logits(), here.logits());
    assert.deepEqual(await there.topLogprobs(3), here.topLogprobs(3));
    assert.deepEqual(there.info, here.info);
    assert.equal(await there.reset(), undefined);
  });

  test("a text that is broken off goes on at the same token", async () => {
    const texts = [];
    for (const model of [here, there]) {
      let text = "";
      for await (const piece of model.generate(PROMPT, { seed: 3, temperature: 1 })) {
        text += piece;
        if (text.length > 40) break;
      }
      texts.push(text + (await model.complete("", { keep: true, maxTokens: 10 })).text);
    }
    assert.equal(texts[1], texts[0]);
  });

  test("snapshots travel both ways, and memory is told", async () => {
    await there.feed("a ".repeat(40));
    const kept = await there.snapshot();
    assert.ok(there.memory.total > here.memory.file);
    here.restore(kept);
    await there.restore(kept);
    const next = { keep: true, maxTokens: 8 };
    assert.deepEqual(await there.complete("", next), await here.complete("", next));
  });

  test("numbers of a network", async () => {
    const url = new URL("../../../tests/data/tfjs/lstm/model.gguf", import.meta.url);
    const [one, two] = [await loadModel(url), await loadModel(url, { where: "worker" })];
    const steps = Float32Array.from({ length: 30 }, (_, i) => Math.sin(i));
    assert.deepEqual(await two.predict(steps), one.predict(steps));
    assert.deepEqual(await two.state(), one.state());
    two.dispose();
  });

  test("onToken hears every token, in complete too", async () => {
    for (const name of ["complete", "generate"]) {
      const heard = [[], []];
      for (const [i, model] of [here, there].entries()) {
        const run = model[name](PROMPT, { maxTokens: 9, onToken: (...token) => heard[i].push(token) });
        await (run.next ? collect(run) : run);
      }
      assert.equal(heard[0].length, 9);
      assert.deepEqual(heard[1], heard[0]);
    }
  });
});

test("nothing runs ahead of the reader", async () => {
  let made = 0;
  const text = there.generateIds(PROMPT, { onToken: () => made++ });
  for (let i = 1; i <= 5; i++) {
    await text.next();
    await new Promise((go) => setTimeout(go, 5));
    assert.equal(made, i);
  }
  await text.return();
  await there.feed("", { keep: true }); // the worker has not gone past the fifth token either
  const { ids } = await here.complete(PROMPT, { maxTokens: 5 });
  const state = await there.complete("", { keep: true, maxTokens: 5 });
  assert.deepEqual([...ids, ...state.ids], (await here.complete(PROMPT, { maxTokens: 10 })).ids);
});

describe("a model for a worker comes from", () => {
  const sources = {
    "an address": () => `${server.base}/slow`,
    "a URL": () => new URL(`${server.base}/model`),
    "an answer": () => fetch(`${server.base}/slow`),
    "an answer made by hand": () => new Response(file),
    "a file": () => new File([file], "chosen.gguf"),
    bytes: () => file,
    "a path": () => LEXICON.pathname,
  };
  for (const [name, source] of Object.entries(sources)) {
    test(name, async () => {
      const seen = [];
      const model = await loadModel(await source(), { where: "worker", onProgress: (it) => seen.push(it) });
      const { ids } = await model.complete(PROMPT, { maxTokens: 64, temperature: 0 });
      assert.equal(fnv1a64(ids), "0f452fa7a70c3f84");
      assert.deepEqual(seen.at(-1), { loaded: file.length, total: file.length, phase: "ready" });
      model.dispose();
    });
  }

  test("and the engine from bytes, a module or an answer", async () => {
    const wasm = read(WASM.simd128);
    for (const engine of [wasm, new WebAssembly.Module(wasm), new Response(wasm, { headers: { "content-type": "application/wasm" } })]) {
      const model = await loadModel(BYTES, { where: "worker", wasm: engine });
      assert.equal((await model.complete(PROMPT, { maxTokens: 3 })).ids.length, 3);
      model.dispose();
    }
  });
});

describe("it stops", () => {
  const reason = new Error("enough");

  test("a load, when the signal says so", async () => {
    await assert.rejects(loadModel(LEXICON, { where: "worker", signal: AbortSignal.abort(reason) }), reason);
    const stop = new AbortController();
    const loading = loadModel(`${server.base}/stalled`, { where: "worker", signal: stop.signal, onProgress: () => stop.abort(reason) });
    await assert.rejects(loading, reason);
  });

  test("a text, when the signal says so, and another may begin", async () => {
    for (const name of ["complete", "generate"]) {
      const stop = new AbortController();
      const run = there[name](PROMPT, { signal: stop.signal, onToken: () => stop.abort(reason) });
      await assert.rejects(run.next ? collect(run) : run, reason);
      assert.equal((await there.complete(PROMPT, { maxTokens: 4 })).ids.length, 4);
    }
  });

  test("when a callback throws", async () => {
    const onToken = () => { throw reason; };
    await assert.rejects(there.complete(PROMPT, { onToken }), reason);
    await assert.rejects(collect(there.generate(PROMPT, { onToken })), reason);
    const onProgress = () => { throw reason; };
    const error = await fails(loadModel(LEXICON, { where: "worker", onProgress }), "ON_PROGRESS", /enough/);
    assert.equal(error.cause, reason);
  });

  test("when another call takes over", async () => {
    const one = there.generate(PROMPT);
    await one.next();
    await there.complete(PROMPT, { maxTokens: 2 });
    await fails(one.next(), "BUSY");
  });

  test("by dispose, in the middle of a text", async () => {
    const model = await loadModel(SORT, { where: "worker" });
    const waiting = model.complete([0, 1, 2, 2, 1, 0], { maxTokens: 6 });
    model.dispose();
    await fails(waiting, "DEAD", /disposed/);
    await fails(model.tokenize("a"), "DEAD", /load the model again/);
    await fails(model.generate("a").next(), "DEAD");
    model.dispose();
  });
});

describe("errors are the same:", () => {
  test("of files and calls", async () => {
    await fails(loadModel("no/such.gguf", { where: "worker" }), "NETWORK", /no\/such\.gguf.*ENOENT/);
    await fails(loadModel(new Uint8Array(100), { where: "worker" }), "BAD_MAGIC");
    await fails(loadModel(await fetch(`${server.base}/nothing`), { where: "worker" }), "HTTP", /404/);
    await fails(loadModel(new Response(null), { where: "worker" }), "TRUNCATED", /0 of/);
    await fails(there.complete([1e9]), "BAD_TOKEN");
    await fails(there.complete("a", { temperature: -1 }), "BAD_PARAM");
  });

  test("of what no message can carry", async () => {
    await assert.rejects(there.complete("a", { logitBias: () => {} }), /could not be cloned/);
    assert.equal((await there.complete(PROMPT, { maxTokens: 2 })).ids.length, 2);
  });

  test("of places", async () => {
    await fails(loadModel(LEXICON, { where: "elsewhere" }), "BAD_PARAM", /elsewhere/);
  });
});
