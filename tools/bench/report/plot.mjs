// Horizontal bars as SVG: one row for each engine and format, a whisker from the least to the greatest.
const WIDTH = 860, LEFT = 270, RIGHT = 110, ROW = 24, TOP = 64, BOTTOM = 16;
const OURS = "#c2410c", OURS_RELAXED = "#ea8a4a", PEERS = "#64748b", NATIVE = "#cbd5e1";

const escape = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const shown = (x) => (x >= 1000 ? Math.round(x).toLocaleString("en") : x.toPrecision(3));

function colour({ engine, host }) {
  if (engine.startsWith("pagelm")) return engine.includes("relaxed") ? OURS_RELAXED : OURS;
  return host === "native" ? NATIVE : PEERS;
}

function rowOf(row, figure, i, scale) {
  const { median, min, max } = row[figure];
  const y = TOP + i * ROW;
  const middle = y + ROW / 2;
  const width = Math.max(1, median * scale);
  const [from, to] = [LEFT + min * scale, LEFT + max * scale];
  const label = `${row.engine} ${row.dtype}${row.host === "chromium" ? "" : `, ${row.host}`}`;
  return `
  <text x="${LEFT - 10}" y="${middle + 4}" text-anchor="end">${escape(label)}</text>
  <rect x="${LEFT}" y="${y + 4}" width="${width.toFixed(1)}" height="${ROW - 8}" fill="${colour(row)}"/>
  <path d="M${from.toFixed(1)} ${middle}H${to.toFixed(1)}M${from.toFixed(1)} ${middle - 4}v8M${to.toFixed(1)} ${middle - 4}v8" stroke="#111827" fill="none"/>
  <text x="${(Math.max(LEFT + width, to) + 8).toFixed(1)}" y="${middle + 4}">${shown(median)}</text>`;
}

/** An SVG of the rows' `figure`; the best is at the top (`least`: the least is the best). */
export function plot(rows, { figure, title, unit, least = false }) {
  const sorted = rows.filter((row) => row[figure]).sort((a, b) => (a[figure].median - b[figure].median) * (least ? 1 : -1));
  if (!sorted.length) return null;
  const most = Math.max(...sorted.map((row) => row[figure].max));
  const scale = (WIDTH - LEFT - RIGHT) / most;
  const height = TOP + sorted.length * ROW + BOTTOM;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="13" fill="#111827" role="img" aria-label="${escape(title)}">
  <rect width="${WIDTH}" height="${height}" fill="#ffffff"/>
  <text x="16" y="26" font-size="17" font-weight="600">${escape(title)}</text>
  <text x="16" y="46" fill="#475569">${escape(unit)}</text>${sorted.map((row, i) => rowOf(row, figure, i, scale)).join("")}
</svg>
`;
}

const of = (rows, model, hosts) => rows.filter((row) => row.model === model && hosts.includes(row.host));
const ALL = ["chromium", "native"];

/** The plots of docs/PERFORMANCE.md: { file, title, svg }. */
export function plots({ rows }) {
  const list = [
    ["decode", "GPT-2 124M: decoding", "tokens per second, one thread, in Chromium unless said otherwise; more is better", of(rows, "gpt2-124m", ALL), "decode"],
    ["prefill", "GPT-2 124M: reading a prompt of 128 tokens", "tokens per second, one thread; more is better", of(rows, "gpt2-124m", ALL), "prefill"],
    ["first-token", "GPT-2 124M: from navigation to the first token", "milliseconds in Chromium, model on localhost; less is better", of(rows, "gpt2-124m", ["chromium"]), "first_ms"],
    ["micro", "gpt-micro: decoding", "tokens per second, one thread, in Chromium; more is better", of(rows, "gpt-micro", ["chromium"]), "decode"],
    ["lstm", "LSTM 2 x 512: single steps", "steps per second, one thread, in Chromium; more is better", of(rows, "lstm", ["chromium"]), "decode"],
    ["gru", "GRU 256: single steps", "steps per second, one thread, in Chromium; more is better", of(rows, "gru", ["chromium"]), "decode"],
  ];
  return list.map(([name, title, unit, chosen, figure]) => {
    return { file: `performance/${name}.svg`, title, svg: plot(chosen, { figure, title, unit, least: figure === "first_ms" }) };
  }).filter(({ svg }) => svg);
}
