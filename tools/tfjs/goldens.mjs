// Small layers models as TensorFlow.js saves them, and what it predicts with them.
//
//     npm install --prefix tools/tfjs && node tools/tfjs/goldens.mjs tests/data/tfjs
//
// For each model a folder with model.json and weights.bin, and in goldens.json an input and the
// outputs that TensorFlow.js gave on its CPU backend, the model loaded again from what was saved.
import { mkdir, writeFile } from "node:fs/promises";
import * as tf from "@tensorflow/tfjs";

// Weights that are the same every time.
function random(seed) {
  return () => ((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32 - 0.5) * 1.6;
}

const L = tf.layers;
const models = {
  // The first model of every tutorial.
  dense: () => tf.sequential({ layers: [L.dense({ inputShape: [4], units: 10, activation: "relu" }), L.dropout({ rate: 0.2 }), L.dense({ units: 3, activation: "softmax" })] }),
  lstm: () => tf.sequential({ layers: [L.lstm({ inputShape: [null, 3], units: 8, returnSequences: true }), L.lstm({ units: 5 }), L.dense({ units: 1 })] }),
  gru: () => tf.sequential({ layers: [L.gru({ inputShape: [6, 2], units: 4, recurrentActivation: "sigmoid", returnSequences: true }), L.flatten(), L.dense({ units: 2, activation: "tanh" })] }),
  words: () => tf.sequential({ layers: [L.embedding({ inputDim: 12, outputDim: 5, inputLength: 7 }), L.bidirectional({ layer: L.lstm({ units: 4, returnSequences: true }), mergeMode: "ave" }), L.lstm({ units: 3 }), L.dense({ units: 2 }), L.activation({ activation: "sigmoid" })] }),
  rnn: () => functional(),
};

function functional() {
  const input = tf.input({ shape: [null, 3] });
  const hidden = L.bidirectional({ layer: L.simpleRNN({ units: 4 }), mergeMode: "concat" }).apply(input);
  return tf.model({ inputs: input, outputs: L.dense({ units: 2, activation: "hardSigmoid" }).apply(hidden) });
}

// As tensorflowjs_converter --quantize does: numbers as whole steps above the least one.
function quantize({ weightSpecs, weightData }, dtype) {
  const most = dtype === "uint8" ? 255 : 65535, Steps = dtype === "uint8" ? Uint8Array : Uint16Array;
  const parts = [];
  let at = 0;
  const specs = weightSpecs.map((spec) => {
    const n = spec.shape.reduce((a, b) => a * b, 1);
    const numbers = new Float32Array(weightData.slice(at, (at += 4 * n)));
    const min = Math.min(...numbers), scale = (Math.max(...numbers) - min) / most || 1;
    parts.push(Buffer.from(Steps.from(numbers, (x) => Math.round((x - min) / scale)).buffer));
    return { ...spec, quantization: { dtype, min, scale, original_dtype: "float32" } };
  });
  return { weightSpecs: specs, weightData: new Uint8Array(Buffer.concat(parts)).buffer };
}

async function save(dir, { modelTopology, weightSpecs, weightData }) {
  await mkdir(dir, { recursive: true });
  const manifest = [{ paths: ["weights.bin"], weights: weightSpecs }];
  const json = { format: "layers-model", generatedBy: `TensorFlow.js tfjs-layers v${tf.version_layers}`, convertedBy: null, modelTopology, weightsManifest: manifest };
  await writeFile(`${dir}/model.json`, `${JSON.stringify(json)}\n`);
  await writeFile(`${dir}/weights.bin`, Buffer.from(weightData));
}

async function golden(artifacts, next) {
  const model = await tf.loadLayersModel(tf.io.fromMemory(artifacts));
  const shape = model.inputs[0].shape.slice(1).map((d) => d ?? 6);
  const tokens = model.layers[0].getClassName() === "Embedding";
  const n = shape.reduce((a, b) => a * b, 1);
  const input = Array.from({ length: n }, (_, i) => (tokens ? (5 * i + 1) % 12 : Math.fround(2 * next())));
  if (shape.length === 1 && n === 4) input.splice(0, 4, 1, 2, 3, 4);
  const output = await model.predict(tf.tensor(input, [1, ...shape], "float32")).data();
  return { [tokens ? "ids" : "input"]: input, every_step: false, output: Array.from(output) };
}

await tf.setBackend("cpu");
const out = process.argv[2], goldens = {};
for (const [i, [name, make]] of Object.entries(models).entries()) {
  const next = random(i + 1), model = make();
  model.setWeights(model.getWeights().map((w) => tf.tensor(Float32Array.from({ length: w.size }, next), w.shape)));
  const saved = await new Promise((done) => model.save(tf.io.withSaveHandler(async (artifacts) => (done(artifacts), {}))));
  const kinds = name === "lstm" ? { "": saved, "-uint8": { ...saved, ...quantize(saved, "uint8") }, "-uint16": { ...saved, ...quantize(saved, "uint16") } } : { "": saved };
  for (const [kind, artifacts] of Object.entries(kinds)) {
    await save(`${out}/${name}${kind}`, artifacts);
    goldens[`${name}${kind}`] = await golden(artifacts, random(100 + i));
  }
}
await writeFile(`${out}/goldens.json`, `${JSON.stringify(goldens, null, 0).replaceAll("},", "},\n")}\n`);
