// From runs to results: for each key the median, least and greatest of everything measured.
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";

import { keyOf } from "../jobs.mjs";

const round = (x) => +x.toPrecision(4);

/** Of a list of numbers; undefined for an empty one. */
export function spread(numbers) {
  const sorted = numbers.filter(Number.isFinite).sort((a, b) => a - b);
  if (!sorted.length) return undefined;
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median: round(median), min: round(sorted[0]), max: round(sorted.at(-1)) };
}

const SPREADS = ["decode", "prefill", "first_ms", "load_ms", "read_gbs", "f32_gops", "dot8_gops", "relaxed_gops"];
const PEAKS = { rss_mb: 1, wasm_bytes: 2 ** 20 };

async function modelMegabytes(job, models) {
  try {
    return round((await stat(join(models, job.model))).size / 1e6);
  } catch {
    return undefined;
  }
}

/** How many of the first greedy tokens are those of onnxruntime in float32, where an engine takes ids. */
async function agreement(job, tokens, models) {
  if (!tokens) return undefined;
  try {
    const reference = JSON.parse(await readFile(join(models, job.shapeName, "reference.json"), "utf8")).tokens;
    const wrong = tokens.findIndex((token, i) => token !== reference[i]);
    return `${wrong < 0 ? tokens.length : wrong} of ${tokens.length}`;
  } catch {
    return undefined;
  }
}

async function row(job, runs, models) {
  const good = runs.filter(({ error }) => !error);
  const { shapeName: model, name: engine, dtype, host } = job;
  const result = { model, engine, dtype, host, runs: good.length };
  if (!good.length) return { ...result, error: runs[0].error.split("\n")[0].slice(0, 200) };
  for (const name of SPREADS) result[name] = spread(good.flatMap((run) => run[name] ?? [])); // a list, or one number
  for (const [name, unit] of Object.entries(PEAKS)) {
    const most = Math.max(...good.map((run) => run[name] ?? 0)) / unit;
    result[name === "wasm_bytes" ? "wasm_mb" : name] = most ? round(most) : undefined;
  }
  result.model_mb = await modelMegabytes(job, models);
  result.agrees = await agreement(job, good[0].tokens, models);
  result.others = round(Math.max(...good.map((run) => run.others ?? 0)));
  result.version = good[0].version;
  if (good[0].table) result.table = true;
  return result;
}

/** { about, rows }: what stands in results.json. */
export async function summary(jobs, runs, about, models) {
  const rows = [];
  for (const job of jobs) {
    const own = runs.filter(({ key }) => key === keyOf(job));
    if (own.length) rows.push(await row(job, own, models));
  }
  return { about, rows };
}
