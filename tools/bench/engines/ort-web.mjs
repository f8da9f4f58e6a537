// onnxruntime-web on its wasm backend, which has no IO binding: the past goes JavaScript <-> wasm at every step.
import { argmax, isNode } from "../protocol.mjs";

const DIST = "tools/bench/node_modules/onnxruntime-web/dist/";

export default async function (job, files) {
  const ort = await import(isNode ? "onnxruntime-web" : `/${DIST}ort.wasm.min.mjs`);
  if (!isNode) ort.env.wasm.wasmPaths = `/${DIST}`;
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const { shape } = job;
  const isGpt = shape.kind === "gpt";
  let session, past, length;

  const int64 = (numbers, dims) => new ort.Tensor("int64", BigInt64Array.from(numbers, BigInt), dims);
  const zeros = (dims) => new ort.Tensor("float32", new Float32Array(dims.reduce((a, b) => a * b)), dims);

  function inputs(ids) {
    if (!isGpt) return { input_ids: int64(ids, [ids.length, 1]) };
    const begin = length;
    length += ids.length;
    return {
      input_ids: int64(ids, [1, ids.length]),
      attention_mask: int64(new Array(length).fill(1), [1, length]),
      position_ids: int64(ids.map((_, i) => begin + i), [1, ids.length]),
    };
  }

  async function run(ids) {
    const { logits, ...state } = await session.run({ ...inputs(ids), ...past });
    past = {};
    for (const [name, tensor] of Object.entries(state)) {
      past[isGpt ? name.replace("present", "past_key_values") : name.replace("_out", "")] = tensor;
    }
    return argmax(logits.data);
  }

  return {
    version: ort.env.versions.web ?? ort.env.versions.common,
    async load() {
      session = await ort.InferenceSession.create(files.model(job.model), {
        executionProviders: ["wasm"], graphOptimizationLevel: "all", executionMode: "sequential",
      });
    },
    prefill(ids) {
      const dims = isGpt ? [1, shape.heads, 0, shape.width / shape.heads] : [1, 1, shape.hidden];
      const names = session.inputNames.filter((name) => isGpt ? name.startsWith("past") : name !== "input_ids");
      past = Object.fromEntries(names.map((name) => [name, zeros(dims)]));
      length = 0;
      return run(ids);
    },
    step: (id) => run([id]),
  };
}
