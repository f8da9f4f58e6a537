// The few figures that the README shows: one engine a row, its best format for each model.
const MODELS = [
  ["gpt2-124m", "GPT-2 124M, tokens/s"],
  ["lstm", "LSTM 2 x 512, steps/s"],
  ["gru", "GRU 256, steps/s"],
];
const ENGINES = [
  ["**pagelm**, in Chromium", "pagelm", "chromium"],
  ["onnxruntime-web, in Chromium", "onnxruntime-web", "chromium"],
  ["wllama (llama.cpp), in Chromium", "wllama", "chromium"],
  ["TensorFlow.js, in Chromium", "TensorFlow.js", "chromium"],
  ["**pagelm**, native", "pagelm", "native"],
  ["llama.cpp, native", "llama.cpp", "native"],
];

function cell(rows, model, engine, host) {
  const own = rows.filter((row) => row.model === model && row.host === host && row.engine.startsWith(engine) && row.decode);
  const best = own.sort((a, b) => b.decode.median - a.decode.median)[0];
  const rate = best && (best.decode.median < 1000 ? String(best.decode.median) : Math.round(best.decode.median).toLocaleString("en"));
  return best ? `${rate} (${best.dtype.replace(/^plain\./, "")})` : "";
}

/** A Markdown table; the best format of each engine is in brackets. */
export function headline({ about, rows }) {
  const lines = ENGINES.map(([name, engine, host]) => [name, ...MODELS.map(([model]) => cell(rows, model, engine, host))]);
  const table = [["one thread", ...MODELS.map(([, title]) => title)], ["---", ...MODELS.map(() => "--:")], ...lines]
    .map((cells) => `| ${cells.join(" | ")} |`).join("\n");
  return `${table}\n\nMedians of ${about.rounds} rounds on ${about.date}, ${about.machine}; each engine's fastest format.`;
}
