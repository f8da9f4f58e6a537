// The fastest that a machine could decode: every weight is read once per token, and multiplied once.
import { SHAPES } from "../jobs.mjs";

/** Bytes of a weight, with its share of the block's scale. */
const BYTES = { f32: 4, fp32: 4, layers: 4, q8_0: 34 / 32, q4_0: 18 / 32, uint8: 1, int8: 1 };
const base = (dtype) => dtype.replace("plain.", "");

/**
 * Weights that a step multiplies: of the matrices in the middle, and of the head. With a table of what the first layer
 * makes of each token, as pagelm keeps it for a small vocabulary, its matrix for the input is not among them.
 */
export function weightsOf(shape, hasTable = false) {
  const { kind, layers, width, hidden, embedding, vocab } = shape;
  if (kind === "gpt") return { body: layers * 12 * width ** 2, head: width * vocab };
  const gates = kind === "lstm" ? 4 : 3;
  let body = 0;
  for (let i = 0; i < layers; i++) body += gates * hidden * ((i ? hidden : embedding) + hidden);
  if (hasTable) body -= gates * hidden * embedding;
  return { body, head: hidden * vocab };
}

/** Bytes read for a token; a Q4_0 file keeps its head at Q8_0. */
export function bytesPerToken(model, dtype) {
  const { body, head } = weightsOf(SHAPES[model]);
  const size = BYTES[base(dtype)];
  return body * size + head * (base(dtype) === "q4_0" ? BYTES.q8_0 : size);
}

/** Past this, the weights do not stay in a cache. */
const CACHED = 24e6;

/** The lower of the two limits on decoding, for an engine inside wasm: { rate, by }. */
export function decodeLimit(row, rows) {
  const roofline = rows.find(({ engine, host }) => engine === "roofline" && host === row.host);
  if (!roofline?.read_gbs || row.model === "machine") return null;
  const { body, head } = weightsOf(SHAPES[row.model], row.table);
  const isFloat = BYTES[base(row.dtype)] === 4;
  const peak = isFloat ? "f32_gops" : row.engine.includes("relaxed") ? "relaxed_gops" : "dot8_gops";
  const limits = [];
  if (roofline[peak]) limits.push({ rate: (roofline[peak].max * 1e9) / (2 * (body + head)), by: "instructions" });
  const bytes = bytesPerToken(row.model, row.dtype);
  if (bytes > CACHED) limits.push({ rate: (roofline.read_gbs.median * 1e9) / bytes, by: "memory" });
  return limits.sort((a, b) => a.rate - b.rate)[0] ?? null;
}
