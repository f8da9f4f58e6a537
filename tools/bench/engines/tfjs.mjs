// TensorFlow.js on its wasm backend, one thread. dtype fp32: operations written out, its fastest use; layers: a stateful
// model of tf.layers, as a Keras user has it.
import { isNode } from "../protocol.mjs";
import { gpt } from "./tfjs-gpt.mjs";
import { cells, layers } from "./tfjs-rnn.mjs";

const SCOPE = "tools/bench/node_modules/@tensorflow/";

/** TensorFlow.js for a page comes as scripts that set `tf`. */
function script(address) {
  return new Promise((resolve, reject) => {
    document.head.append(Object.assign(document.createElement("script"), { src: address, onload: resolve, onerror: reject }));
  });
}

async function library() {
  if (isNode) {
    const [core, backend, { createRequire }] = await Promise.all([
      import("@tensorflow/tfjs"), import("@tensorflow/tfjs-backend-wasm"), import("node:module"),
    ]);
    const folder = createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm/package.json").replace("package.json", "dist/");
    (backend.setWasmPaths ?? backend.default.setWasmPaths)(folder);
    return core.tensor ? core : core.default;
  }
  await script(`/${SCOPE}tfjs/dist/tf.min.js`);
  await script(`/${SCOPE}tfjs-backend-wasm/dist/tf-backend-wasm.min.js`);
  tf.wasm.setWasmPaths(`/${SCOPE}tfjs-backend-wasm/dist/`);
  return tf;
}

/** The tensors of weights.bin, by name. */
async function weights(tf, job, files) {
  const [index, blob] = await Promise.all([files.bytes(job.model.replace(".bin", ".json")), files.bytes(job.model)]);
  const tensors = JSON.parse(new TextDecoder().decode(index));
  return Object.fromEntries(Object.entries(tensors).map(([name, { shape, at }]) => {
    return [name, tf.tensor(new Float32Array(blob, at, shape.reduce((a, b) => a * b)), shape)];
  }));
}

export default async function (job, files) {
  const tf = await library();
  const make = job.shape.kind === "gpt" ? gpt : job.dtype === "layers" ? layers : cells;
  let network;

  async function greatest(logits) {
    const best = logits.argMax(-1);
    const ids = await best.data();
    best.dispose();
    logits.dispose();
    return ids.at(-1);
  }

  return {
    version: tf.version?.tfjs ?? tf.version_core,
    async load() {
      tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
      await tf.setBackend("wasm");
      await tf.ready();
      network = make(tf, job.shape, await weights(tf, job, files));
    },
    prefill(ids) {
      network.reset();
      return greatest(network.run(ids));
    },
    step: (id) => greatest(network.run([id])),
  };
}
