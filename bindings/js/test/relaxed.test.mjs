// The build for engines with relaxed-simd, and the probe that chooses it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { detectBuild, loadModel } from "../node.js";
import { BYTES, LEXICON, allowRelaxed, fnv1a64 } from "./helpers.mjs";

allowRelaxed();

/** What the probe says while part of WebAssembly is another. */
function detected(name, replacement) {
  const original = WebAssembly[name];
  WebAssembly[name] = replacement(original);
  try {
    return detectBuild();
  } finally {
    WebAssembly[name] = original;
  }
}

/** What a probe reads of a sum, to which it adds twos. */
const sum = (dot) => (dot + 0x02020202) << 16 >> 16;

test("a dot product that is wrong, or slow, is not taken", () => {
  const answers = (...numbers) => () => function () {
    return { exports: { "": () => numbers.shift() } };
  };
  // Four times -127 times -1 or 255, by a machine that has the instruction.
  assert.equal(detected("Instance", answers(sum(4 * 127))), "relaxed");
  assert.equal(detected("Instance", answers(sum(4 * -127 * 255))), "relaxed");
  // By sums of two that do not fit; wrong; and then what plain SIMD answers.
  assert.equal(detected("Instance", answers(sum(-65536), -1)), "simd128");
  assert.equal(detected("Instance", answers(sum(-508), -1)), "simd128");
  assert.equal(detected("Instance", answers(4 * 127, -1)), "simd128", "nothing was added");
});

test("the probes are modules, and this machine's dot product is one of those known", () => {
  const probes = [];
  const refuses = () => function (bytes) {
    throw probes.push(bytes);
  };
  assert.equal(detected("Module", refuses), "scalar");
  const [dot, simd] = probes.map((bytes) => new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports[""]());
  assert.ok([4 * 127, 4 * -127 * 255, -65536].map(sum).includes(dot), `${dot}`);
  // Bytes of -127 where the twos have a bit, of -1 elsewhere.
  assert.equal(simd, 0xfdfd << 16 >> 16);
});

test("an engine that refuses the opcode has simd128, one that refuses SIMD is scalar", () => {
  const refuses = (times) => (Module) => function (bytes) {
    if (times-- > 0) throw new WebAssembly.CompileError("unknown opcode");
    return new Module(bytes);
  };
  assert.equal(detected("Module", refuses(1)), "simd128");
  assert.equal(detected("Module", refuses(2)), "scalar");
});

for (const [name, url] of Object.entries({ lexicon: LEXICON, bytes: BYTES })) {
  for (const [way, options] of Object.entries({ greedy: { temperature: 0 }, sampled: { temperature: 1.1, topK: 40, seed: 42 } })) {
    test(`${name}, ${way}: relaxed writes what simd128 does`, async () => {
      const hashes = [];
      for (const build of ["simd128", "relaxed", undefined]) {
        const model = await loadModel(url, { build });
        const { ids } = await model.complete("The ", { ...options, maxTokens: 64, ignoreEos: true });
        assert.equal(ids.length, 64);
        hashes.push(fnv1a64(ids));
      }
      assert.deepEqual(hashes, Array(3).fill(hashes[0]));
    });
  }
}
