// node --test: the report from made-up results.
import assert from "node:assert/strict";
import test from "node:test";

import { bars } from "./bars.mjs";
import { headline } from "./headline.mjs";
import { bytesPerToken, decodeLimit, weightsOf } from "./limits.mjs";
import { plot, plots } from "./plot.mjs";
import { spread, summary } from "./summary.mjs";
import { markdown } from "./tables.mjs";
import { between, json } from "./write.mjs";
import { SHAPES, jobsOf, keyOf } from "../jobs.mjs";
import { argmax, planOf, prompt } from "../protocol.mjs";

const at = (median) => ({ median, min: median * 0.9, max: median * 1.1 });
const row = (engine, dtype, decode, more = {}) => ({ model: "gpt2-124m", engine, dtype, host: "chromium", runs: 3, decode: at(decode), prefill: at(decode * 5), first_ms: at(70_000 / decode), others: 0, ...more });
const ROWS = [
  { model: "machine", engine: "roofline", dtype: "wasm", host: "chromium", read_gbs: at(20), f32_gops: at(28), dot8_gops: at(50), relaxed_gops: at(90) },
  row("pagelm simd128", "q8_0", 140), row("pagelm relaxed", "q4_0", 170, { others: 0.9 }),
  row("onnxruntime-web", "uint8", 37), row("onnxruntime-web", "fp32", 43), row("wllama 2", "q8_0", 18),
  { model: "gpt2-124m", engine: "wllama 3", dtype: "q8_0", host: "chromium", runs: 0, error: "a | b" },
  row("llama.cpp", "q8_0", 110, { host: "native", first_ms: undefined }),
];
const ABOUT = { date: "2026-01-01", commit: "abc", rounds: 3, machine: "a machine", chromium: "Chromium 1", node: "v20" };

test("a spread has the median of what is a number", () => {
  assert.deepEqual(spread([3, 1, 2, Infinity]), { median: 2, min: 1, max: 3 });
  assert.equal(spread([1, 2]).median, 1.5);
  assert.equal(spread([]), undefined);
});

test("the prompts are those of models/weights.py", () => {
  assert.deepEqual(prompt(4, 50257), [15886, 49631, 33628, 15701]);
  assert.equal(argmax([1, 3, 3, 2]), 1);
});

test("the 124M shape has 123.5 million weights to read", () => {
  const { body, head } = weightsOf(SHAPES["gpt2-124m"]);
  assert.equal(body + head, 12 * 12 * 768 ** 2 + 50257 * 768);
  assert.equal(bytesPerToken("gpt2-124m", "fp32"), 4 * (body + head));
  assert.equal(bytesPerToken("gpt2-124m", "plain.uint8"), body + head);
  assert.equal(bytesPerToken("gpt2-124m", "q4_0"), (body * 18 + head * 34) / 32);
});

test("a limit is the lower of memory and instructions", () => {
  assert.equal(decodeLimit(ROWS[1], ROWS).by, "memory");
  const slow = ROWS.map((row) => ({ ...row, dot8_gops: at(10) }));
  assert.equal(decodeLimit(ROWS[1], slow).by, "instructions");
  assert.equal(decodeLimit({ ...ROWS[1], host: "native" }, ROWS), null);
});

test("a table of tokens takes the first layer's matrix for the input out of the limit", () => {
  const { body } = weightsOf(SHAPES.lstm), short = weightsOf(SHAPES.lstm, true).body;
  assert.equal(body - short, 4 * 512 * 512);
  const limit = (table) => decodeLimit({ ...ROWS[1], model: "lstm", table }, ROWS).rate;
  assert.ok(limit(true) > 1.3 * limit(undefined) && limit(true) < 1.4 * limit(undefined));
});

test("bars are computed from the rows, and only where there are rows", () => {
  const list = bars({ rows: ROWS });
  const against = (text) => list.find((bar) => bar.text.includes(text));
  assert.equal(against("Q8_0 simd128, against onnxruntime-web's best 8-bit").value, "3.78 x");
  assert.equal(against("Q8_0 simd128, against onnxruntime-web's best 8-bit").reached, true);
  assert.equal(against("Q8_0 simd128, against native llama.cpp").value, "1.27 x");
  assert.equal(against("read bandwidth").value, "92 %");
  assert.equal(against("navigation to first token, Q8_0").reached, true);
  assert.equal(against("LSTM"), undefined);
  const slower = ROWS.map((row) => (row.engine === "pagelm simd128" ? { ...row, decode: at(100) } : row));
  assert.equal(bars({ rows: slower })[0].reached, false);
});

test("tables name failures, noise and misses", () => {
  const text = markdown({ about: ABOUT, rows: ROWS }, [{ file: "performance/decode.svg", title: "Decoding" }]);
  assert.match(text, /wllama 3 \| q8_0 \| chromium \| failed: a \/ b/);
  assert.match(text, /pagelm relaxed ‡/);
  assert.match(text, /!\[Decoding\]\(performance\/decode\.svg\)/);
  assert.match(text, /140 \(pagelm simd128 q8_0\) \/ 37 \(onnxruntime-web uint8\)/);
  for (const line of text.split("\n").filter((line) => line.startsWith("|"))) assert.ok(!line.includes("undefined") && !line.includes("NaN"), line);
});

test("the headline has each engine's best format", () => {
  const text = headline({ about: ABOUT, rows: ROWS });
  assert.match(text, /\| \*\*pagelm\*\*, in Chromium \| 170 \(q4_0\) \| +\|/);
  assert.match(text, /\| onnxruntime-web, in Chromium \| 43 \(fp32\) \|/);
  assert.match(text, /\| llama\.cpp, native \| 110 \(q8_0\) \|/);
  assert.ok(!text.includes("undefined"));
});

test("plots are well formed and sorted", () => {
  for (const { svg } of plots({ rows: ROWS })) assert.match(svg, /^<svg [^]*<\/svg>\n$/);
  const svg = plot(ROWS.slice(1), { figure: "decode", title: "a < b & c", unit: "x" });
  assert.ok(svg.includes("a &lt; b &amp; c"));
  assert.ok(svg.indexOf("pagelm relaxed") < svg.indexOf("pagelm simd128") && svg.indexOf("pagelm simd128") < svg.indexOf("wllama 2"));
});

test("a page keeps what is outside of the markers", () => {
  const page = "before\n<!-- bench: begin, written by `cargo xtask bench` -->\nold\n<!-- bench: end -->\nafter\n";
  const text = between(page, "new");
  assert.ok(text.startsWith("before\n") && text.endsWith("<!-- bench: end -->\nafter\n") && text.includes("\n\nnew\n\n") && !text.includes("old"));
  assert.equal(between(text, "new"), text);
  assert.throws(() => between("no markers", "new"), /no line/);
});

test("results.json has a line for each row", () => {
  const text = json({ about: ABOUT, rows: ROWS });
  assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify({ about: ABOUT, rows: ROWS })));
  assert.equal(text.trim().split("\n").length, ROWS.length + 5);
});

test("runs are put together by their keys, failures apart", async () => {
  const jobs = jobsOf({ engines: ["wllama 2"], models: ["gpt-micro"] }, () => true);
  const [a, b] = jobs.map(keyOf);
  const runs = [{ key: a, decode: [1, 3], first_ms: 5, others: 0.1 }, { key: a, decode: [2], first_ms: 7, others: 0.4 }, { key: b, error: "x\ny" }];
  const { rows } = await summary(jobs, runs, ABOUT, "nowhere");
  assert.deepEqual(rows[0].decode, { median: 2, min: 1, max: 3 });
  assert.deepEqual([rows[0].first_ms.median, rows[0].others, rows[1].error], [6, 0.4, "x"]);
});

test("every job has a plan and a key of its own", () => {
  const jobs = jobsOf({}, () => true);
  assert.equal(new Set(jobs.map(keyOf)).size, jobs.length);
  for (const job of jobs) assert.ok(planOf(job.shape).decodeTokens > 0);
  assert.ok(jobsOf({}, (file) => file !== "pagelm-relaxed.wasm").every(({ name }) => name !== "pagelm relaxed"));
});
