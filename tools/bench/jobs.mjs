// What is measured: every engine with every model and format it has, as a list of jobs.
import { readFileSync } from "node:fs";

export const SHAPES = JSON.parse(readFileSync(new URL("shapes.json", import.meta.url)));
export const GPT = ["gpt2-124m", "gpt-micro"];
export const RECURRENT = ["lstm", "gru"];

const gguf = (shape, dtype) => `${shape}/${dtype}.gguf`;
const onnx = (shape, dtype) => `${shape}/${dtype}.onnx`;
const weights = (shape) => `${shape}/weights.bin`;
const PAGELM = ["q8_0", "q4_0", "f32"];
const ORT = ["fp32", "plain.fp32", "uint8", "plain.uint8", "int8"];

/** name: as the tables have it; engine: the module in engines/; file: pagelm's wasm. */
const ENGINES = [
  { name: "pagelm simd128", engine: "pagelm", file: "pagelm.wasm", hosts: ["chromium", "node"], gpt: PAGELM, recurrent: PAGELM, path: gguf },
  { name: "pagelm relaxed", engine: "pagelm", file: "pagelm-relaxed.wasm", hosts: ["chromium"], gpt: PAGELM, recurrent: PAGELM, path: gguf },
  { name: "pagelm", engine: "native-pagelm", hosts: ["native"], gpt: PAGELM, recurrent: PAGELM, path: gguf },
  { name: "onnxruntime-web", engine: "ort-web", hosts: ["chromium"], gpt: ORT, recurrent: ["fp32", "int8"], path: onnx },
  { name: "wllama 2", engine: "wllama2", hosts: ["chromium"], gpt: ["q8_0", "q4_0"], recurrent: [], path: gguf },
  { name: "wllama 3", engine: "wllama3", hosts: ["chromium"], gpt: ["q8_0", "q4_0"], recurrent: [], path: gguf },
  { name: "TensorFlow.js", engine: "tfjs", hosts: ["chromium"], gpt: ["fp32"], recurrent: ["fp32", "layers"], path: weights },
  { name: "llama.cpp", engine: "native-llama", hosts: ["native"], gpt: ["q8_0", "q4_0"], recurrent: [], path: gguf },
];

const ROOFLINE = ["chromium", "node"].map((host) => ({
  name: "roofline", engine: "roofline", shapeName: "machine", dtype: "wasm", host, model: "roofline.wasm", shape: {},
}));

export const engineNames = ENGINES.map(({ name }) => name);
export const keyOf = (job) => [job.shapeName, job.name, job.dtype, job.host].join(" | ");

/** The jobs of one round, models in order; `has` tells whether a module of pagelm's was built. */
export function jobsOf({ engines, models, dtypes, hosts }, has) {
  const wanted = (list, value) => !list || list.some((part) => value.startsWith(part));
  const jobs = ROOFLINE.filter((job) => wanted(engines, job.name) && wanted(hosts, job.host));
  for (const [shapeName, shape] of Object.entries(SHAPES)) {
    for (const { gpt, recurrent, hosts: all, path, file, ...engine } of ENGINES) {
      if (file && !has(file)) continue;
      for (const dtype of shape.kind === "gpt" ? gpt : recurrent) {
        for (const host of all) {
          const job = { ...engine, file, shapeName, shape, dtype, host, model: path(shapeName, dtype) };
          if (wanted(engines, engine.name) && wanted(models, shapeName) && wanted(dtypes, dtype) && wanted(hosts, host)) jobs.push(job);
        }
      }
    }
  }
  return jobs;
}

/** The rig's own test: two small models of the examples, pagelm alone. */
export function smokeJobs() {
  const shapes = {
    "gpt2-basic-bytes": { kind: "gpt", vocab: 258, context: 192 },
    "stories-gru": { kind: "gru", vocab: 512 },
  };
  const pagelm = ENGINES.filter(({ file, engine }) => file === "pagelm.wasm" || engine === "native-pagelm");
  const jobs = [];
  for (const [shapeName, shape] of Object.entries(shapes)) {
    for (const { name, engine, file, hosts } of pagelm) {
      for (const host of hosts) jobs.push({ name, engine, file, shapeName, shape, dtype: "file", host, model: `${shapeName}.gguf` });
    }
  }
  return jobs;
}
