// Results as Markdown.
import { bars } from "./bars.mjs";
import { decodeLimit } from "./limits.mjs";

const MODELS = {
  "gpt2-124m": "GPT-2 124M (12 layers, 768 wide, 50,257 tokens)",
  "gpt-micro": "gpt-micro (4 layers, 128 wide, 512 tokens)",
  lstm: "LSTM (2 layers, 512 wide, 96 tokens)",
  gru: "GRU (1 layer, 256 wide, 96 tokens)",
};
/** More of a core than this used by others makes a row doubtful. */
export const NOISE = 0.3;

const table = (head, rows) => [head, head.map((_, i) => (i ? "--:" : "---")), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
const number = (x) => (x === undefined || x === null ? "" : x >= 1000 ? Math.round(x).toLocaleString("en") : String(x));
const span = (s) => (s ? `${number(s.median)} (${number(s.min)} to ${number(s.max)})` : "");

function share(row, rows) {
  const limit = row.decode && decodeLimit(row, rows);
  return limit ? `${Math.round((100 * row.decode.median) / limit.rate)} % of ${limit.by}` : "";
}

function modelTable(model, rows) {
  const own = rows.filter((row) => row.model === model);
  if (!own.length) return "";
  const head = ["engine", "format", "host", "decode, tokens/s", "share of the limit", "prefill, tokens/s", "first token, ms", "wasm MB", "process MB", "file MB", "greedy tokens"];
  const body = own.map((row) => {
    const name = `${row.engine}${row.others > NOISE ? " ‡" : ""}`;
    if (row.error) return [name, row.dtype, row.host, `failed: ${row.error.replaceAll("|", "/")}`, ...Array(7).fill("")];
    return [name, row.dtype, row.host, span(row.decode), share(row, rows), span(row.prefill), span(row.first_ms), number(row.wasm_mb),
      row.rss_mb ? Math.round(row.rss_mb) : "", number(row.model_mb), row.agrees ?? ""];
  });
  return `### ${MODELS[model] ?? model}\n\n${table(head, body)}\n`;
}

function machineTable(rows) {
  const own = rows.filter(({ model, error }) => model === "machine" && !error);
  if (!own.length) return "";
  const head = ["host", "reading in order, GB/s", "f32, Gop/s", "8-bit by i16 dots, Gop/s", "8-bit by relaxed dots, Gop/s"];
  const body = own.map((row) => [row.host, span(row.read_gbs), ...["f32_gops", "dot8_gops", "relaxed_gops"].map((name) => span(row[name]))]);
  return `### The machine's limits inside wasm, one thread\n\n${table(head, body)}\n`;
}

function barTable(results) {
  const list = bars(results);
  if (!list.length) return "";
  const body = list.map(({ text, bar, value, reached, detail }) => [text, bar, value, reached ? "reached" : "**missed**", detail]);
  return `### The bars\n\n${table(["what", "bar", "measured", "", "from"], body)}\n`;
}

function versions(rows) {
  const all = new Map();
  for (const { engine, version } of rows) if (version && !engine.startsWith("pagelm")) all.set(engine, version);
  return [...all].map(([engine, version]) => `${engine} ${version}`).join("; ");
}

/** Everything between the markers of docs/PERFORMANCE.md. */
export function markdown(results, plots) {
  const { about, rows } = results;
  const noisy = rows.some(({ others }) => others > NOISE);
  const head = [
    `Measured on ${about.date}, ${about.rounds} rounds, at ${about.commit}.`,
    `Machine: ${about.machine}. ${about.chromium}, Node.js ${about.node}.`,
    `Peers: ${versions(rows) || "none"}.`,
    "Medians, in brackets the least and the greatest.",
    ...(noisy ? [`‡: others used more than ${NOISE} of a core during at least one run.`] : []),
  ].join("\n");
  const pictures = plots.map(({ file, title }) => `![${title}](${file})\n`).join("\n");
  const tables = [...Object.keys(MODELS), ...new Set(rows.map(({ model }) => model))].filter((model, i, all) => model !== "machine" && all.indexOf(model) === i);
  return [head, "", barTable(results), pictures, machineTable(rows), ...tables.map((model) => modelTable(model, rows))].filter((part) => part !== undefined).join("\n").replace(/\n{3,}/g, "\n\n").trim();
}
