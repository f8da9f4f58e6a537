// What is inside: embeddings, attention, and the C interface itself.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { PagelmError, loadModel } from "../node.js";
import { loadModel as loadByCore } from "../pagelm.js";
import { LEXICON, NAMES, SORT, WASM, failure, read } from "./helpers.mjs";

const TEXT = "The model is small and the machine is old";
const model = await loadModel(LEXICON, { embedding: true, attention: true });
const plain = await loadModel(LEXICON);

function near(got, want, bound) {
  assert.equal(got.length, want.length);
  want.forEach((value, i) => assert.ok(Math.abs(got[i] - value) <= bound, `${i}: ${got[i]} for ${value}`));
}

describe("an embedding", () => {
  for (const kind of ["a transformer", "a recurrent network"]) {
    test(`of a whole text is the mean of those of its tokens, in ${kind}`, async () => {
      const it = kind === "a transformer" ? model : await loadModel(new URL("shakespeare.gguf", SORT), { embedding: true });
      const ids = it.tokenize(TEXT), sum = [];
      for (let n = 1; n <= ids.length; n++) {
        const last = await it.embed(ids.subarray(0, n), { pooling: "last" });
        last.forEach((value, i) => (sum[i] = (sum[i] ?? 0) + value));
      }
      const mean = await it.embed(TEXT);
      assert.ok(mean.length >= 32 && mean.some((value) => Math.abs(value) > 0.1), `${mean.length} numbers`);
      near(mean, sum.map((value) => value / ids.length), 1e-5);
    });
  }

  test("is the same in every build, batch and thread", async () => {
    const want = await model.embed(TEXT);
    for (const options of [{ build: "scalar" }, { batch: 1 }, { where: "worker" }]) {
      const other = await loadModel(LEXICON, { embedding: true, ...options });
      assert.deepEqual(await other.embed(TEXT), want, JSON.stringify(options));
      other.dispose();
    }
  });

  test("is a copy, goes on with keep, and without a prompt speaks of what was read", async () => {
    const whole = await model.embed(TEXT), kept = Float32Array.from(whole);
    const ids = model.tokenize(TEXT);
    await model.feed(ids.subarray(0, 4));
    assert.deepEqual(await model.embed(ids.subarray(4), { keep: true }), kept);
    assert.deepEqual(await model.embed(), kept);
    assert.deepEqual(whole, kept);
  });

  test("changes no text", async () => {
    const options = { maxTokens: 30, seed: 4, temperature: 1 };
    assert.deepEqual(await model.complete(TEXT, options), await plain.complete(TEXT, options));
  });
});

test("a half cache takes half the memory and gives the same text in every build, batch and thread", async () => {
  const options = { maxTokens: 30, seed: 4, temperature: 1 };
  let want;
  for (const how of [{}, { build: "scalar" }, { batch: 1 }, { where: "worker" }]) {
    const it = await loadModel(LEXICON, { halfCache: true, ...how });
    const { text } = await it.complete(TEXT, options);
    assert.equal(text, (want ??= text), JSON.stringify(how));
    const saved = plain.memory.session - it.memory.session, { layers, heads, contextLength } = it.info;
    // Two bytes for each number of a key and of a value, whose 12 are rounded up to whole groups of 8.
    if (how.batch !== 1) assert.ok(Math.abs(saved - 2 * (12 + 16) * layers * heads * contextLength) < 1024, `${saved} bytes`);
    it.dispose();
  }
});

test("low memory does without the table of tokens and gives the same text", async () => {
  const options = { maxTokens: 40, seed: 4, temperature: 1 };
  const [full, low] = await Promise.all([{}, { lowMemory: true }].map((how) => loadModel(NAMES, how)));
  // 27 characters, an Elman layer of 160.
  assert.ok(full.memory.session - low.memory.session >= 4 * 27 * 161);
  assert.deepEqual(await low.complete("", options), await full.complete("", options));
  full.dispose();
  low.dispose();
});

describe("attention", () => {
  test("is a share of one for each position, in every head of every layer", async () => {
    await model.feed(TEXT);
    const { length } = model.tokenize(TEXT), seen = new Set();
    for (let layer = 0; layer < model.info.layers; layer++) {
      for (let head = 0; head < model.info.heads; head++) {
        const weights = model.attention(layer, head);
        assert.equal(weights.length, length);
        assert.ok(weights.every((weight) => weight >= 0));
        near([weights.reduce((sum, weight) => sum + weight)], [1], 1e-5);
        seen.add(weights.join());
      }
    }
    assert.equal(seen.size, model.info.layers * model.info.heads, "no two heads are alike");
  });
});

test("what was not asked for at the load, or does not exist, is refused in words", async () => {
  const refused = async (work, code, pattern) => {
    const error = await failure((async () => work())());
    assert.ok(error instanceof PagelmError, error?.stack);
    assert.equal(error.code, code);
    assert.match(error.message, pattern);
  };
  await refused(() => plain.embed(TEXT), "UNSUPPORTED", /embedding: true/);
  await refused(() => plain.attention(0, 0), "UNSUPPORTED", /attention: true/);
  await refused(() => model.embed(TEXT, { pooling: "max" }), "BAD_PARAM", /max/);
  await model.feed(TEXT);
  await refused(() => model.attention(99, 0), "BAD_PARAM", /./);
  model.reset();
  await refused(() => model.attention(0, 0), "NO_LOGITS", /./);
  assert.equal((await model.embed(TEXT)).length > 0, true);
});

test("raw() reaches every function of the C interface", async () => {
  const core = await loadByCore(read(LEXICON), { wasm: read(WASM.simd128), flags: 2 });
  await core.feed(TEXT);
  const { x, call, u32, f32, session, out } = core.raw();
  call(x.pagelm_session_embedding, session, 0, out, out + 4);
  const at = u32[out / 4] / 4;
  assert.deepEqual(f32.slice(at, at + u32[out / 4 + 1]), await model.embed(TEXT));
  assert.throws(() => call(x.pagelm_session_embedding, session, 7, out, out + 4), (error) => error.code === "BAD_PARAM");
});
