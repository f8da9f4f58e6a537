// Generating: text and ids, sampling, stopping, state, limits and errors.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { PagelmError, loadModel } from "../node.js";
import { BYTES, LEXICON, SORT, WASM, collect, failure, fnv1a64, read } from "./helpers.mjs";

const lexicon = await loadModel(LEXICON);
const bytes = await loadModel(BYTES);
const sort = await loadModel(SORT);
const PROMPT = "The ";
const WILD = { temperature: 1.2, topK: 50, topP: 0.95, minP: 0.001, repetitionPenalty: 1.2, presencePenalty: 0.1, frequencyPenalty: 0.1, penaltyLastN: 32 };

async function fails(promise, code, pattern = /./) {
  const error = await failure(promise);
  assert.ok(error instanceof PagelmError, `${error?.stack}`);
  assert.equal(error.code, code, error.message);
  assert.match(error.message, pattern);
}

function throws(call, code) {
  assert.throws(call, (error) => error instanceof PagelmError && error.code === code && error.message.length > 8);
}

describe("the same text", () => {
  for (const [name, url] of Object.entries({ lexicon: LEXICON, bytes: BYTES })) {
    for (const [way, options] of Object.entries({ greedy: {}, sampled: { ...WILD, seed: 42 } })) {
      test(`${name}, ${way}: scalar and simd128`, async (t) => {
        const hashes = {};
        for (const build of ["scalar", "simd128"]) {
          const model = await loadModel(url, { build });
          const { ids, text } = await model.complete(PROMPT, { ...options, maxTokens: 64, ignoreEos: true });
          assert.equal(ids.length, 64);
          hashes[build] = fnv1a64(ids);
          t.diagnostic(`${build}: 64 tokens, hash ${hashes[build]}: ${JSON.stringify(text.slice(0, 60))}`);
        }
        assert.equal(hashes.scalar, hashes.simd128);
      });
    }
  }

  test("with the same seed, another with another", async () => {
    const text = async (seed) => (await bytes.complete(PROMPT, { ...WILD, seed, maxTokens: 40 })).text;
    assert.equal(await text(1), await text(1));
    assert.notEqual(await text(1), await text(2));
    assert.notEqual(await text(1), await text(1 + 2 ** 32)); // all 53 bits count
  });

  test("whatever the batch and the slices", async () => {
    const want = await lexicon.complete("The model is small and the machine is old", { maxTokens: 20 });
    const other = await loadModel(LEXICON, { batch: 1 });
    const got = await other.complete("The model is small and the machine is old", { maxTokens: 20, yieldMs: 0 });
    assert.deepEqual(got, want);
  });
});

describe("text", () => {
  test("streams in the pieces of complete() and detokenize()", async () => {
    const { text, ids } = await lexicon.complete(PROMPT, { maxTokens: 50 });
    const streamed = await collect(lexicon.generate(PROMPT, { maxTokens: 50 }));
    assert.ok(streamed.length > 20 && streamed.every((piece) => piece.length > 0));
    assert.equal(streamed.join(""), text);
    assert.equal(lexicon.detokenize(ids), text);
    assert.deepEqual(await collect(lexicon.generateIds(PROMPT, { maxTokens: 50 })), ids);
  });

  // Two bytes of one character are the only tokens left, and a penalty makes them take turns.
  const [first, second] = bytes.tokenize("é");
  const turns = { logitBias: { [first]: 1e6 + 500, [second]: 1e6 }, frequencyPenalty: 1000 };

  test("comes in whole characters", async () => {
    const pieces = await collect(bytes.generate("a", { ...turns, maxTokens: 20 }));
    assert.deepEqual(pieces, Array(10).fill("é"));
  });

  test("keeps half a character for the rest of the text", async () => {
    const { text, finish } = await bytes.complete("a", { ...turns, maxTokens: 5 });
    assert.deepEqual([text, finish], ["éé", "length"]);
    assert.equal((await bytes.complete("", { keep: true, maxTokens: 3 })).text, "éé");
  });

  test("of random bytes is what one decoder makes of all of them", async () => {
    const logitBias = Object.fromEntries([0xc3, 0xa9, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80].map((byte) => [byte + 2, 50]));
    const { text, ids } = await bytes.complete("a", { temperature: 2, seed: 5, logitBias, maxTokens: 150, ignoreEos: true });
    const want = new TextDecoder().decode(Uint8Array.from(ids, (id) => id - 2), { stream: true });
    assert.equal(text, want);
    assert.ok(text.includes("\ufffd") && /[é€]/.test(text), text);
  });

  test("survives the round trip through ids", () => {
    for (const text of ["", "a", "The model, 486 and é€😀\n", "\ufeffx", "\0"]) {
      for (const model of [lexicon, bytes]) assert.equal(model.detokenize(model.tokenize(text)), text);
    }
  });

  test("names special tokens only when asked", () => {
    const plain = lexicon.tokenize("<|endoftext|>");
    assert.ok(plain.length > 1);
    assert.deepEqual([...lexicon.tokenize("<|endoftext|>", { special: true })], [lexicon.info.eos]);
  });

  test("may be given as ids, in an array or a typed one", async () => {
    const ids = lexicon.tokenize(PROMPT);
    const want = await lexicon.complete(PROMPT, { maxTokens: 8 });
    assert.deepEqual(await lexicon.complete(ids, { maxTokens: 8 }), want);
    assert.deepEqual(await lexicon.complete([...ids], { maxTokens: 8 }), want);
  });

  test("begins from nothing with the model's own token", async () => {
    const want = await bytes.complete([bytes.info.bos], { maxTokens: 8, ignoreEos: true });
    for (const nothing of [undefined, "", []]) {
      assert.deepEqual(await bytes.complete(nothing, { maxTokens: 8, ignoreEos: true }), want);
    }
    await fails(sort.complete(), "NOTHING_FED");
  });
});

describe("a text ends", () => {
  test("at a stop text, which is not part of it", async () => {
    const { text } = await bytes.complete(PROMPT, { maxTokens: 60 });
    const stop = text.slice(20, 24);
    const cut = await bytes.complete(PROMPT, { maxTokens: 60, stop: ["\u0000never", stop] });
    assert.deepEqual([cut.text, cut.finish], [text.slice(0, text.indexOf(stop)), "stop"]);
  });

  test("at a stop token", async () => {
    const { ids } = await lexicon.complete(PROMPT, { maxTokens: 20 });
    const stop = ids[9];
    const cut = await lexicon.complete(PROMPT, { maxTokens: 20, stop });
    assert.deepEqual([cut.ids, cut.finish], [ids.slice(0, ids.indexOf(stop)), "stop"]);
  });

  test("at maxTokens, with what a stop text held back", async () => {
    const { text } = await bytes.complete(PROMPT, { maxTokens: 12 });
    const stop = `${text.slice(-3)}\u0000never`;
    const { text: same, finish } = await bytes.complete(PROMPT, { maxTokens: 12, stop });
    assert.deepEqual([same, finish], [text, "length"]);
  });

  test("at once with maxTokens 0", async () => {
    assert.deepEqual(await bytes.complete(PROMPT, { maxTokens: 0 }), { text: "", ids: [], finish: "length" });
  });

  test("when the context is full, or goes on where asked to slide", async () => {
    const small = await loadModel(BYTES, { contextLength: 24 });
    const { ids, finish } = await small.complete(PROMPT, { ignoreEos: true });
    assert.deepEqual([ids.length, finish], [24 - 4 + 1, "context"]);
    const sliding = await loadModel(BYTES, { contextLength: 24, slide: true });
    assert.equal((await sliding.complete(PROMPT, { ignoreEos: true, maxTokens: 60 })).ids.length, 60);
  });

  test("when the loop breaks, and another may begin", async () => {
    for await (const _ of bytes.generate(PROMPT, { maxTokens: 50 })) break;
    assert.equal((await bytes.complete(PROMPT, { maxTokens: 5 })).ids.length, 5);
  });

  test("when the signal says so", async () => {
    const stop = new AbortController();
    const reason = new Error("enough");
    let count = 0;
    const text = bytes.generate(PROMPT, { signal: stop.signal, onToken: () => ++count === 5 && stop.abort(reason) });
    await assert.rejects(collect(text), reason);
    assert.equal(count, 5);
    await assert.rejects(bytes.feed(PROMPT, { signal: AbortSignal.abort(reason) }), reason);
    assert.equal((await bytes.complete(PROMPT, { maxTokens: 5 })).ids.length, 5);
  });

  test("when another call takes the model over", async () => {
    const one = bytes.generate(PROMPT);
    await one.next();
    await bytes.complete(PROMPT, { maxTokens: 2 });
    await fails(one.next(), "BUSY");
  });
});

describe("state", () => {
  test("goes on with keep as if it had never paused", async () => {
    const options = { ...WILD, seed: 9, maxTokens: 30 };
    const { ids } = await lexicon.complete(PROMPT, options);
    const first = await lexicon.complete(PROMPT, { ...options, maxTokens: 10 });
    const rest = await lexicon.complete("", { keep: true, maxTokens: 20 });
    assert.deepEqual([...first.ids, ...rest.ids], ids);
  });

  test("is fed in parts", async () => {
    const want = await bytes.complete("The model is", { maxTokens: 10 });
    await bytes.feed("The ");
    await bytes.feed("model", { keep: true });
    assert.deepEqual(await bytes.complete(" is", { keep: true, maxTokens: 10 }), want);
  });

  test("comes back from a snapshot, in another model object and another build too", async () => {
    const options = { ...WILD, seed: 3, maxTokens: 12, stop: "\u0000" };
    await lexicon.complete(PROMPT, options);
    const kept = lexicon.snapshot();
    const want = await lexicon.complete("", { keep: true, maxTokens: 25 });
    lexicon.restore(kept);
    assert.deepEqual(await lexicon.complete("", { keep: true, maxTokens: 25 }), want);
    const other = await loadModel(LEXICON, { build: "scalar" });
    other.restore(kept);
    assert.deepEqual(await other.complete("", { keep: true, maxTokens: 25 }), want);
  });

  test("does not come back from rubbish", async () => {
    await bytes.complete(PROMPT, { maxTokens: 5 });
    const kept = bytes.snapshot();
    for (const wrong of [new Uint8Array(0), new Uint8Array(100), kept.slice(0, -1), lexicon.snapshot()]) {
      throws(() => bytes.restore(wrong), "BAD_SNAPSHOT");
    }
    assert.equal((await bytes.complete(PROMPT, { maxTokens: 5 })).ids.length, 5);
  });

  test("is forgotten by reset", async () => {
    await bytes.feed(PROMPT);
    bytes.reset();
    throws(() => bytes.logits(), "NO_LOGITS");
  });
});

describe("scores", () => {
  test("are those of the next token, and agree with each other", async () => {
    await lexicon.feed(PROMPT);
    const logits = lexicon.logits();
    const { ids, logprobs } = lexicon.topLogprobs(5);
    assert.equal(logits.length, lexicon.info.vocabSize);
    const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a] || a - b);
    assert.deepEqual([...ids], order.slice(0, 5));
    const top = logits[order[0]];
    const sum = logits.reduce((sum, x) => sum + Math.exp(x - top), 0);
    ids.forEach((id, i) => assert.ok(Math.abs(logits[id] - top - Math.log(sum) - logprobs[i]) < 1e-4));
    const { ids: written } = await lexicon.complete("", { keep: true, maxTokens: 1 });
    assert.equal(written[0], ids[0]);
  });

  test("are copies", async () => {
    await lexicon.feed(PROMPT);
    const before = lexicon.logits();
    const kept = Float32Array.from(before);
    await lexicon.complete("", { keep: true, maxTokens: 3 });
    assert.deepEqual(before, kept);
  });
});

describe("the sorting model", () => {
  test("sorts 200 of 200", async () => {
    let right = 0;
    for (let n = 0; n < 200; n++) {
      const digits = Array.from({ length: 6 }, (_, i) => Math.floor((n * 7919 + 104729) / 3 ** i) % 3);
      const sorted = await collect(sort.generateIds(digits, { maxTokens: 6 }));
      right += sorted.join() === digits.toSorted().join();
    }
    assert.equal(right, 200);
  });
});

describe("a wrong call gets its own error:", () => {
  const ids = [[-1], [1.5], [2 ** 32], [NaN], ["1"], Uint32Array.of(258), [258]];
  test("ids out of range", async () => {
    for (const wrong of ids) await fails(bytes.complete(wrong), "BAD_TOKEN");
    for (const wrong of ids) throws(() => bytes.detokenize(wrong), "BAD_TOKEN");
    await fails(bytes.complete("a", { logitBias: { 258: 1 } }), "BAD_TOKEN");
    await fails(bytes.complete("a", { logitBias: { x: 1 } }), "BAD_TOKEN");
    await fails(bytes.complete("a", { stop: 258 }), "BAD_TOKEN");
  });

  test("a prompt that is too long", async () => {
    await fails(bytes.complete("a".repeat(193)), "PROMPT_TOO_LONG", /193 tokens/);
    await fails(bytes.complete("a".repeat(2000)), "TEXT_TOO_LONG");
    await fails(bytes.complete("a".repeat(1e6)), "TEXT_TOO_LONG");
    await fails(bytes.complete(new Uint32Array(193).fill(5)), "PROMPT_TOO_LONG");
    await fails(bytes.complete(new Uint32Array(1e6).fill(5)), "PROMPT_TOO_LONG");
    throws(() => bytes.tokenize("a".repeat(1e6)), "TEXT_TOO_LONG");
    assert.equal((await bytes.complete("a".repeat(191), { maxTokens: 1 })).ids.length, 1);
  });

  test("a text that the vocabulary cannot express", async () => {
    await fails(sort.complete("012 x"), "UNENCODABLE");
  });

  test("settings out of range", async () => {
    for (const options of [{ temperature: -1 }, { temperature: NaN }, { topP: 2 }, { minP: -0.1 }, { repetitionPenalty: -1 }, { logitBias: { 1: Infinity } }, { stop: "" }]) {
      await fails(bytes.complete("a", options), "BAD_PARAM");
    }
    await fails(bytes.complete("a", { stop: Array(9).fill("x") }), "FULL");
    await fails(bytes.complete("a", { stop: Array(17).fill(3) }), "FULL");
    await fails(lexicon.complete("a", { logitBias: Object.fromEntries(Array.from({ length: 257 }, (_, i) => [i, 1])) }), "FULL");
    assert.equal((await bytes.complete(PROMPT, { maxTokens: 5 })).ids.length, 5);
  });

  test("a context that the model does not have", async () => {
    await fails(loadModel(BYTES, { contextLength: 193 }), "BAD_PARAM", /n_ctx/);
  });
});

describe("a model file is refused that is", () => {
  const good = read(BYTES);
  const at = (text) => Buffer.from(good.buffer).indexOf(text);
  const change = (edit) => {
    const file = good.slice();
    edit(file, new DataView(file.buffer));
    return file;
  };
  const cases = {
    "cut short": [good.slice(0, -5000), "TRUNCATED"],
    "cut in its header": [good.slice(0, 1000), "TRUNCATED"],
    "of another kind": [change((file) => file.set([1, 2, 3, 4])), "BAD_MAGIC"],
    "of another version": [change((_, view) => view.setUint32(4, 99, true)), "BAD_VERSION"],
    "of another architecture": [change((file) => file.set(Buffer.from("gpt9"), at("gpt2"))), "UNSUPPORTED_ARCH"],
    "of an unsupported type": [change((_, view) => view.setUint32(at("token_embd.weight") + 17 + 4 + 16, 13, true)), "UNSUPPORTED_TYPE"],
    "without a tensor": [change((file) => file.set(Buffer.from("x"), at("output_norm.weight"))), "MISSING_TENSOR"],
    "without a key": [change((file) => file.set(Buffer.from("x"), at("gpt2.embedding_length") + 5)), "MISSING_KEY"],
    "full of impossible counts": [change((_, view) => view.setBigUint64(8, 1n << 60n, true)), "CORRUPT"],
    "not finite": [change((file) => file.fill(0xff, file.length / 2, file.length / 2 + 100)), "NOT_FINITE"],
  };
  for (const [name, [file, code]] of Object.entries(cases)) {
    test(name, () => fails(loadModel(file), code, /^the bytes given: ./));
  }
});

describe("the end of a model", () => {
  const calls = {
    generate: (model) => model.generate("a").next(),
    generateIds: (model) => model.generateIds("a").next(),
    "generate with keep": (model) => model.generate("a", { keep: true, temperature: 1 }).next(),
    complete: (model) => model.complete("a"),
    feed: (model) => model.feed("a"),
    tokenize: (model) => model.tokenize("a"),
    detokenize: (model) => model.detokenize([1]),
    logits: (model) => model.logits(),
    topLogprobs: (model) => model.topLogprobs(),
    snapshot: (model) => model.snapshot(),
    restore: (model) => model.restore(new Uint8Array(10)),
    reset: (model) => model.reset(),
  };

  async function allFail(model, code, pattern) {
    for (const [name, call] of Object.entries(calls)) {
      const error = await failure((async () => call(model))());
      assert.ok(error instanceof PagelmError, `${name}: ${error?.stack}`);
      assert.equal(error.code, code, name);
      assert.match(error.message, pattern);
    }
  }

  test("by dispose, also in the middle of a text", async () => {
    const model = await loadModel(BYTES);
    const text = model.generate(PROMPT);
    await text.next();
    model.dispose();
    await fails(text.next(), "DEAD");
    await allFail(model, "DEAD", /load the model again/);
    model.dispose();
  });

  test("by using, where the language has it", async () => {
    const model = await loadModel(BYTES);
    assert.equal(model[Symbol.dispose], model.dispose);
  });

  test("by a crash of the engine", async (t) => {
    const real = WebAssembly.instantiate;
    const crash = () => { throw new WebAssembly.RuntimeError("unreachable"); };
    t.mock.method(WebAssembly, "instantiate", async (module) => {
      const { exports } = await real.call(WebAssembly, module);
      return { exports: { ...exports, pagelm_session_run: crash } };
    });
    const model = await loadModel(BYTES, { wasm: new WebAssembly.Module(read(WASM.simd128)) });
    assert.equal(model.tokenize("ab").length, 2);
    await fails(model.complete("a"), "DEAD", /crashed.*unreachable/);
    await allFail(model, "DEAD", /load the model again/);
  });
});
