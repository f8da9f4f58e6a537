// Networks as functions: the numbers of TensorFlow.js, states, sequences, refusals.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { PagelmError, loadModel } from "../node.js";

const DATA = new URL("../../../tests/data/tfjs/", import.meta.url);
const goldens = JSON.parse(readFileSync(new URL("goldens.json", DATA)));
const load = (name, options) => loadModel(new URL(`${name}/model.gguf`, DATA), options);

function near(got, want, bound = 1e-5) {
  assert.equal(got.length, want.length);
  want.forEach((value, i) => assert.ok(Math.abs(got[i] - value) <= bound, `${i}: ${got[i]} for ${value}`));
}

describe("TensorFlow.js' numbers", () => {
  for (const name of ["dense", "lstm", "words"]) {
    for (const build of ["scalar", "simd128"]) {
      test(`${name}, ${build}`, async () => {
        const model = await load(name, { build });
        const { input, ids, output } = goldens[name];
        near(model.predict(input ?? ids), output);
      });
    }
  }

  test("the tutorial's call: predict([1, 2, 3, 4])", async () => {
    const model = await load("dense");
    assert.deepEqual([model.info.inputs, model.info.outputs], [4, 3]);
    const output = model.predict(new Float32Array([1, 2, 3, 4]));
    near(output, goldens.dense.output);
    near([output.reduce((a, b) => a + b)], [1]); // it ends in a softmax
    assert.deepEqual(model.predict([1, 2, 3, 4]), output);
  });
});

describe("a sequence", () => {
  const steps = Float32Array.from({ length: 60 }, (_, i) => Math.sin(i));

  test("in one call and step by step gives the same bits", async () => {
    const model = await load("lstm");
    const all = model.predict(steps, { everyStep: true });
    assert.equal(all.length, 20);
    const one = Array.from({ length: 20 }, (_, i) => model.predict(steps.subarray(3 * i, 3 * i + 3), { keep: i > 0 })[0]);
    assert.deepEqual([...all], one);
    assert.equal(model.predict(steps)[0], all[19]);
  });

  test("longer than any scratch grows the memory once", async () => {
    const model = await load("lstm"), long = new Float32Array(3 * 50000).fill(0.25);
    const all = model.predict(long, { everyStep: true }), { total } = model.memory;
    assert.equal(all.length, 50000);
    assert.equal(model.predict(long)[0], all[49999]);
    assert.equal(model.memory.total, total);
  });

  test("goes on from a state that is read and set", async () => {
    const model = await load("lstm"), other = await load("lstm");
    model.predict(steps.subarray(0, 30));
    const state = model.state();
    assert.equal(state.length, 26); // h and c of 8 and of 5
    assert.deepEqual(other.state(state), state);
    const rest = steps.subarray(30);
    assert.deepEqual(other.predict(rest, { keep: true }), model.predict(rest, { keep: true }));
    assert.notDeepEqual(other.predict(rest), model.predict(rest, { keep: true }));
  });
});

describe("what does not fit is refused", () => {
  const refused = (call, code) => assert.throws(call, (error) => error instanceof PagelmError && error.code === code, code);

  test("lengths, ids, numbers", async () => {
    const dense = await load("dense"), words = await load("words"), lstm = await load("lstm");
    for (const input of [[], [1], [1, 2, 3, 4, 5]]) refused(() => dense.predict(input), "BAD_INPUT");
    refused(() => words.predict([0, 12]), "BAD_TOKEN");
    refused(() => words.predict([0, -1]), "BAD_TOKEN");
    refused(() => words.predict([0, 1], { keep: true }), "UNSUPPORTED"); // it reads both ways
    refused(() => lstm.state([1, 2]), "BAD_INPUT");
    refused(() => lstm.state(new Float32Array(26).fill(NaN)), "BAD_PARAM");
    near(dense.predict(goldens.dense.input), goldens.dense.output); // and nothing has broken
  });

  test("a transformer, and a model disposed of", async () => {
    const sort = await loadModel(new URL("../../../examples/models/gpt-nano-sort.gguf", import.meta.url));
    refused(() => sort.predict([0, 1]), "UNSUPPORTED");
    sort.dispose();
    refused(() => sort.predict([0, 1]), "DEAD");
  });
});
