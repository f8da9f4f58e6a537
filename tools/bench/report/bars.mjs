// The bars that the project set itself, each computed from the results; nothing here is typed by hand but the bars.
import { bytesPerToken } from "./limits.mjs";

const best = (rows, figure) => rows.reduce((a, b) => ((b[figure]?.median ?? 0) > (a?.[figure]?.median ?? 0) ? b : a), undefined);
const starts = (list, value) => !list || [list].flat().some((part) => value.startsWith(part));

/** Rows of a model by the beginnings of the engine's name, its formats and its host. */
function select(rows, model, engine, dtypes, host = "chromium") {
  return rows.filter((row) => row.model === model && row.host === host && starts(engine, row.engine) && starts(dtypes, row.dtype));
}

const PEERS = ["onnxruntime-web", "wllama", "TensorFlow.js"];
const EIGHT = ["uint8", "plain.uint8", "int8"];
const FLOAT = ["fp32", "plain.fp32"];
const BIG = "gpt2-124m";
const BUILDS = ["simd128", "relaxed"];

/** text: the bar's subject; figure; ours and theirs: rows to take the best of; factor: ours / theirs at least. */
function ratios(rows) {
  const of = (...args) => select(rows, ...args);
  const list = [];
  const add = (text, factor, ours, theirs, figure = "decode") => list.push({ text, factor, ours, theirs, figure });
  for (const build of BUILDS) {
    const pagelm = `pagelm ${build}`;
    const q8 = of(BIG, pagelm, "q8_0");
    const q4 = of(BIG, pagelm, "q4_0");
    const llama = (dtype) => of(BIG, "llama.cpp", dtype, "native");
    add(`124M decode, Q8_0 ${build}, against onnxruntime-web's best 8-bit`, 3.2, q8, of(BIG, "onnxruntime-web", EIGHT));
    add(`124M decode, Q8_0 ${build}, against wllama's Q8_0`, 7, q8, of(BIG, "wllama", "q8_0"));
    add(`124M decode, Q8_0 ${build}, against native llama.cpp`, 1.1, q8, llama("q8_0"));
    add(`124M decode, Q4_0 ${build}, against wllama's Q4_0`, 6, q4, of(BIG, "wllama", "q4_0"));
    add(`124M decode, Q4_0 ${build}, against native llama.cpp`, build === "relaxed" ? 1.1 : 0.9, q4, llama("q4_0"));
    add(`124M prefill, ${build}, against onnxruntime-web's best`, build === "relaxed" ? 2 : 1.5, of(BIG, pagelm), of(BIG, "onnxruntime-web"), "prefill");
  }
  add("124M decode, F32, against onnxruntime-web fp32", 1, of(BIG, "pagelm", "f32"), of(BIG, "onnxruntime-web", FLOAT));
  add("4-layer 128-wide GPT decode, against onnxruntime-web's best", 6, of("gpt-micro", "pagelm"), of("gpt-micro", "onnxruntime-web"));
  for (const model of ["lstm", "gru"]) {
    add(`${model.toUpperCase()} steps, Q8_0, against the best wasm peer`, 5, of(model, "pagelm", "q8_0"), of(model, PEERS));
    add(`${model.toUpperCase()} steps, F32, against the best wasm peer`, 1.2, of(model, "pagelm", "f32"), of(model, PEERS));
  }
  for (const dtype of ["q8_0", "q4_0"]) {
    const [ours, theirs] = ["pagelm", "llama.cpp"].map((engine) => of(BIG, engine, dtype, "native"));
    add(`native 124M decode, ${dtype.toUpperCase()}, against llama.cpp`, 1.1, ours, theirs);
    add(`native 124M prefill, ${dtype.toUpperCase()}, against llama.cpp`, 0.7, ours, theirs, "prefill");
  }
  return list;
}

const named = (row) => `${row.engine} ${row.dtype}`;

function ratioBar({ text, factor, ours, theirs, figure }) {
  const [a, b] = [best(ours, figure), best(theirs, figure)];
  if (!a?.[figure] || !b?.[figure]) return null;
  const value = a[figure].median / b[figure].median;
  return {
    text, bar: `${factor} x`, value: `${value.toFixed(2)} x`, reached: value >= factor,
    detail: `${a[figure].median} (${named(a)}) / ${b[figure].median} (${named(b)})`,
  };
}

/** The share of the memory's speed that decoding Q8_0 uses. */
function memoryBar(rows) {
  const [roofline, row] = [select(rows, "machine", "roofline")[0], best(select(rows, BIG, "pagelm", "q8_0"), "decode")];
  if (!roofline?.read_gbs || !row?.decode) return null;
  const used = (row.decode.median * bytesPerToken(BIG, "q8_0")) / 1e9;
  const value = used / roofline.read_gbs.median;
  return {
    text: "124M decode, Q8_0: share of the in-wasm read bandwidth", bar: "60 %", value: `${(100 * value).toFixed(0)} %`, reached: value >= 0.6,
    detail: `${used.toFixed(1)} of ${roofline.read_gbs.median} GB/s (${named(row)})`,
  };
}

/** The first token of each 8- and 4-bit model against the fastest peer with any model. */
function firstBars(rows) {
  const quickest = (list) => list.filter((row) => row.first_ms).sort((a, b) => a.first_ms.median - b.first_ms.median)[0];
  const peer = quickest(select(rows, BIG, PEERS));
  return ["q8_0", "q4_0"].map((dtype) => {
    const row = quickest(select(rows, BIG, "pagelm", dtype));
    if (!row || !peer) return null;
    const value = row.first_ms.median / peer.first_ms.median;
    return {
      text: `124M, navigation to first token, ${dtype.toUpperCase()}, against the fastest peer`, bar: "at most 0.33 x", value: `${value.toFixed(2)} x`,
      reached: value <= 1 / 3, detail: `${row.first_ms.median.toFixed(0)} ms (${named(row)}) / ${peer.first_ms.median.toFixed(0)} ms (${named(peer)})`,
    };
  });
}

/** Every bar whose rows were measured. */
export function bars({ rows }) {
  return [...ratios(rows).map(ratioBar), memoryBar(rows), ...firstBars(rows)].filter(Boolean);
}
