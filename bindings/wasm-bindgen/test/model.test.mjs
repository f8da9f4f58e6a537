// The package in Node.js: every verb, and what goes wrong. PAGELM_PKG names the
// folder that `cargo xtask bindgen` made for the target `web`.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = new URL("../../../", import.meta.url);
const pkg = process.env.PAGELM_PKG ? `file://${process.env.PAGELM_PKG}/` : new URL("../pkg/", import.meta.url);
const { Loader, initSync, isPagelmError, loadModel } = await import(new URL("pagelm.js", pkg));
const exports = initSync({ module: readFileSync(new URL("pagelm_bg.wasm", pkg)) });

const read = (name) => Uint8Array.from(readFileSync(fileURLToPath(new URL(`examples/models/${name}.gguf`, root))));
const LEXICON = read("gpt2-basic-lexicon"), BYTES = read("gpt2-basic-bytes"), NAMES = read("names");
const GREEDY = "0f452fa7a70c3f84", SAMPLED = "166b3f2a5d968e12";

function fnv1a64(ids) {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new Uint8Array(Uint32Array.from(ids).buffer)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return hash.toString(16).padStart(16, "0");
}

const refused = (code) => (error) => {
  assert.ok(isPagelmError(error) && error instanceof Error, `${error}`);
  assert.equal(error.code, code, error.message);
  assert.ok(error.message.length > 10, error.message);
  return true;
};

/** Serves `answer(response)`; its address and how to end. */
async function serve(answer) {
  const server = createServer((_, response) => answer(response));
  await new Promise((go) => server.listen(0, "127.0.0.1", go));
  return [`http://127.0.0.1:${server.address().port}/model.gguf`, () => (server.closeAllConnections(), server.close())];
}

test("the same tokens as every other host, greedy", async () => {
  const model = await loadModel(LEXICON);
  const { ids, finish } = await model.complete("The ", { maxTokens: 64 });
  assert.equal(fnv1a64(ids), GREEDY);
  assert.equal(finish, "length");
});

test("the same tokens as every other host, sampled", async () => {
  const model = await loadModel(BYTES);
  const { ids } = await model.complete("The ", { maxTokens: 64, temperature: 0.8, seed: 42 });
  assert.equal(fnv1a64(ids), SAMPLED);
});

test("a stream of text, of ids and single steps are the same text", async () => {
  const model = await loadModel(BYTES);
  const whole = await model.complete("The ", { maxTokens: 24 });
  let text = "", ids = [], seen = [];
  const onToken = (id, piece) => seen.push([id, typeof piece]);
  for await (const piece of model.generate("The ", { maxTokens: 24, onToken })) text += piece;
  for await (const id of model.generateIds("The ", { maxTokens: 24 })) ids.push(id);
  assert.equal(text, whole.text);
  assert.deepEqual(ids, whole.ids);
  assert.deepEqual(seen, ids.map((id) => [id, "string"]));
  const steps = model.start("The ", { maxTokens: 24 });
  let byHand = "", more = 0;
  for (let step; step !== "finished"; ) {
    step = steps.step(1);
    if (step === "more") more++;
    else byHand += steps.text;
  }
  assert.equal(byHand, whole.text);
  assert.ok(more > 24, "a budget of 1 is not one token");
});

test("loads from an answer of fetch, with progress", async () => {
  const [address, end] = await serve((response) => response.end(BYTES));
  try {
    const seen = [];
    const model = await loadModel(await fetch(address), { onProgress: (progress) => seen.push(progress) });
    // The last tensor may be followed by bytes of padding.
    const total = model.info.fileSize;
    assert.ok(total > BYTES.length - 32 && total <= BYTES.length, `${total} bytes`);
    assert.deepEqual(seen.at(-1), { loaded: total, total, phase: "ready" });
    assert.ok(seen.every(({ loaded }, i) => !i || loaded >= seen[i - 1].loaded));
    const again = await loadModel(address);
    assert.deepEqual(again.info, model.info);
  } finally {
    end();
  }
});

test("loads in pieces of any size, by hand", () => {
  for (const size of [1000, 4096, 100_000]) {
    const loader = new Loader({ contextLength: 32 });
    let whole = false;
    for (let at = 0; !whole; at += size) {
      assert.ok(at < BYTES.length, "it never was whole");
      whole = loader.push(BYTES.subarray(at, at + size));
      assert.equal(whole, at + size >= (loader.fileSize ?? Infinity));
    }
    const model = loader.finish();
    assert.throws(() => loader.finish(), refused("NOT_LOADED"));
    assert.equal(model.info.contextLength, 32);
  }
});

test("what is wrong with a source is said", async (t) => {
  await t.test("no model", () => assert.rejects(loadModel(new Uint8Array(5000).fill(60)), refused("BAD_MAGIC")));
  await t.test("cut short", () => assert.rejects(loadModel(BYTES.slice(0, -100)), refused("TRUNCATED")));
  await t.test("empty", () => assert.rejects(loadModel(new Uint8Array()), refused("TRUNCATED")));
  await t.test("nobody there", () => assert.rejects(loadModel("http://127.0.0.1:9/model.gguf"), refused("NETWORK")));
  await t.test("an aborted load", () => assert.rejects(loadModel(BYTES, { signal: AbortSignal.abort() }), { name: "AbortError" }));
  await t.test("a callback that throws", () => {
    const onProgress = () => { throw new Error("mine"); };
    return assert.rejects(loadModel(BYTES, { onProgress }), refused("ON_PROGRESS"));
  });
  await t.test("options out of range", () => assert.rejects(loadModel(BYTES, { contextLength: -1 }), refused("BAD_PARAM")));
  const answers = {
    HTTP: (response) => response.writeHead(404).end(),
    HTML: (response) => response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html>"),
    TRUNCATED: (response) => {
      response.writeHead(200, { "content-length": BYTES.length });
      response.write(BYTES.subarray(0, BYTES.length * 0.8), () => response.destroy());
    },
  };
  for (const [code, answer] of Object.entries(answers)) {
    await t.test(`a server's ${code}`, async () => {
      const [address, end] = await serve(answer);
      try {
        await assert.rejects(loadModel(address), refused(code));
      } finally {
        end();
      }
    });
  }
});

test("what is wrong with a call is said", async (t) => {
  const model = await loadModel(BYTES);
  const bad = { temperature: -1, topP: 2, topK: 1.5, seed: 2 ** 60, penaltyLastN: -1, logitBias: { 1: NaN } };
  for (const [name, value] of Object.entries(bad)) {
    await t.test(name, () => assert.rejects(model.complete("The", { [name]: value }), refused("BAD_PARAM")));
  }
  await t.test("a token that is none", () => assert.rejects(model.complete([2 ** 31]), refused("BAD_TOKEN")));
  await t.test("a fraction of one", () => assert.rejects(model.complete([0.5]), refused("BAD_TOKEN")));
  await t.test("too long a prompt", () => assert.rejects(model.complete(Array(9999).fill(1)), refused("PROMPT_TOO_LONG")));
  await t.test("logits of nothing", () => {
    model.reset();
    assert.throws(() => model.logits(), refused("NO_LOGITS"));
  });
  await t.test("predict with a transformer", () => assert.throws(() => model.predict([1]), refused("UNSUPPORTED")));
  await t.test("no snapshot", () => assert.throws(() => model.restore(new Uint8Array(99)), refused("BAD_SNAPSHOT")));
  await t.test("and it still works", async () => assert.equal((await model.complete("The", { maxTokens: 3 })).ids.length, 3));
});

test("stop texts, stop tokens and biases", async () => {
  const model = await loadModel(BYTES);
  const { text } = await model.complete("The ", { maxTokens: 40 });
  const stop = text.slice(10, 14), until = await model.complete("The ", { maxTokens: 40, stop: ["never this", stop] });
  assert.equal(until.text, text.slice(0, text.indexOf(stop)));
  assert.equal(until.finish, "stop");
  const { ids } = await model.complete("The ", { maxTokens: 5 });
  const token = await model.complete("The ", { maxTokens: 5, stop: ids[0] });
  assert.deepEqual(token.ids, []);
  const forbidden = await model.complete("The ", { maxTokens: 1, logitBias: { [ids[0]]: -1e9 } });
  assert.notEqual(forbidden.ids[0], ids[0]);
});

test("a text ends when told to, and the next call goes on", async () => {
  const model = await loadModel(BYTES);
  const control = new AbortController(), reason = new Error("enough");
  const onToken = () => control.abort(reason);
  await assert.rejects(model.complete("The ", { maxTokens: 9, signal: control.signal, onToken }), reason);
  const stream = model.generate("The ");
  await stream.next();
  await model.complete("What ", { maxTokens: 2 });
  await assert.rejects(stream.next().then(() => stream.next()), refused("BUSY"));
});

test("tokens and text", async () => {
  const model = await loadModel(LEXICON);
  const ids = model.tokenize("Once upon a time");
  assert.ok(ids instanceof Uint32Array && ids.length > 0);
  assert.equal(model.detokenize(ids), "Once upon a time");
  assert.equal(model.detokenize([...ids]), "Once upon a time");
  assert.throws(() => model.detokenize([1e9]), refused("BAD_TOKEN"));
});

test("characters come whole", async () => {
  const model = await loadModel(BYTES);
  // A vocabulary of bytes: a character of three of them, taken apart.
  const ids = model.tokenize("€é");
  assert.equal(ids.length, 5);
  assert.equal(model.detokenize(ids), "€é");
  assert.equal(model.detokenize(ids.slice(0, 2)), new TextDecoder().decode(new TextEncoder().encode("€").slice(0, 2)));
  const bias = (id) => ({ maxTokens: 1, keep: true, logitBias: { [id]: 1e6 } });
  let text = (await model.complete("a", { ...bias(ids[0]), keep: false })).text;
  for (const id of ids.slice(1, 3)) text += (await model.complete([], bias(id))).text;
  assert.equal(text, "€");
});

test("logits and probabilities of what was fed", async () => {
  const model = await loadModel(LEXICON);
  await model.feed("The ");
  const logits = model.logits(), { ids, logprobs } = model.topLogprobs(3);
  assert.equal(logits.length, model.info.vocabSize);
  assert.equal(logits.indexOf(Math.max(...logits)), ids[0]);
  assert.ok(logprobs[0] <= 0 && logprobs[0] >= logprobs[1] && logprobs[1] >= logprobs[2]);
  const { ids: next } = await model.complete([], { keep: true, maxTokens: 1 });
  assert.equal(next[0], ids[0]);
});

test("one vector for a text", async () => {
  const model = await loadModel(LEXICON, { embedding: true });
  const ids = [...model.tokenize("Once upon a time")];
  const mean = await model.embed("Once upon a time"), last = await model.embed(ids, { pooling: "last" });
  assert.ok(mean instanceof Float32Array && mean.length === last.length && mean.length > 8);
  assert.deepEqual(await model.embed(ids, { pooling: "mean" }), mean);
  // Of a single token they are the same; the mean is that of the last ones of every beginning.
  assert.deepEqual(await model.embed(ids.slice(0, 1), { pooling: "last" }), await model.embed(ids.slice(0, 1)));
  const sum = new Float64Array(mean.length);
  for (let n = 1; n <= ids.length; n++) (await model.embed(ids.slice(0, n), { pooling: "last" })).forEach((x, i) => (sum[i] += x));
  const worst = Math.max(...mean.map((x, i) => Math.abs(x - sum[i] / ids.length)));
  assert.ok(worst < 1e-5, `off by ${worst}`);
  await assert.rejects(model.embed("Once", { pooling: "best" }), refused("BAD_PARAM"));
  const without = await loadModel(BYTES);
  await assert.rejects(without.embed("Once"), refused("UNSUPPORTED"));
});

test("a cache in half precision rounds a little", async () => {
  const whole = await loadModel(LEXICON), half = await loadModel(LEXICON, { halfCache: true });
  await whole.feed("Once upon a time");
  await half.feed("Once upon a time");
  const a = whole.logits(), b = half.logits();
  assert.notDeepEqual(a, b);
  assert.ok(a.every((x, i) => Math.abs(x - b[i]) < 0.05));
});

test("a snapshot goes on with the same text, also in another model", async () => {
  const model = await loadModel(BYTES);
  const settings = { temperature: 0.9, seed: 3 };
  const whole = await model.complete("The ", { ...settings, maxTokens: 20 });
  const first = await model.complete("The ", { ...settings, maxTokens: 8 });
  const snapshot = model.snapshot();
  const other = await loadModel(BYTES);
  for (const it of [model, other]) {
    it.restore(snapshot);
    const rest = await it.complete([], { keep: true, maxTokens: 12 });
    assert.deepEqual([...first.ids, ...rest.ids], whole.ids);
  }
});

test("a recurrent network as a function, and its state", async () => {
  const model = await loadModel(NAMES);
  const ids = [...model.tokenize("anna")];
  const whole = model.predict(ids, { everyStep: true });
  assert.equal(whole.length, ids.length * model.info.outputs);
  model.predict(ids.slice(0, 2));
  const state = model.state();
  const rest = model.predict(ids.slice(2), { keep: true });
  assert.deepEqual(rest, whole.slice(-model.info.outputs));
  model.reset();
  model.state(state);
  assert.deepEqual(model.predict(ids.slice(2), { keep: true }), rest);
  assert.throws(() => model.state([1, 2]), refused("BAD_INPUT"));
});

test("what a model is", async () => {
  const model = await loadModel(LEXICON);
  const { info, memory } = model;
  assert.equal(info.architecture, "gpt2");
  assert.ok(info.parameters > 1e5 && info.layers > 0 && info.heads > 0 && info.tokenizer);
  assert.equal(info.contextLength, info.maxContextLength);
  assert.equal(memory.file, LEXICON.length);
  assert.equal(memory.total, exports.memory.buffer.byteLength);
  assert.equal(model.finish, undefined);
});

test("a model that is gone says so, and its memory is used again", async () => {
  const model = await loadModel(BYTES);
  model.dispose();
  model.dispose();
  await assert.rejects(model.complete("The"), refused("DEAD"));
  assert.throws(() => model.info, refused("DEAD"));
  (await loadModel(LEXICON)).free();
  const before = exports.memory.buffer.byteLength;
  for (let i = 0; i < 20; i++) (await loadModel(LEXICON)).free();
  const grown = exports.memory.buffer.byteLength - before;
  assert.ok(grown < 2 * LEXICON.length, `memory grew by ${grown} bytes in 20 loads`);
});

test("error codes are those of pagelm.h", () => {
  const header = readFileSync(new URL("include/pagelm.h", root), "utf8");
  const names = [...header.matchAll(/#define PAGELM_ERROR_(\w+) (-\d+)/g)].sort((a, b) => b[2] - a[2]).map((m) => m[1]);
  const source = readFileSync(new URL("bindings/wasm-bindgen/src/code.rs", root), "utf8");
  const ours = source.match(/NAMES: &str = "([^"]+)"/)[1].split(/[\s\\]+/);
  assert.deepEqual(ours, names);
});
