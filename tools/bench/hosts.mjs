// Runs one job where it belongs: a page in a fresh Chromium, a Node.js process, a native program.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

import { withPage } from "../web/browser.mjs";
import { peakMemory, watchOthers } from "./processes.mjs";

const LIMIT = 300_000;
const here = (file) => fileURLToPath(new URL(file, import.meta.url));

/** Standard output of a program; what it wrote to standard error if it failed. */
function output(program, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], cwd: here("."), timeout: LIMIT });
    let [out, err] = ["", ""];
    child.stdout.on("data", (data) => (out += data));
    child.stderr.on("data", (data) => (err += data));
    child.on("error", reject);
    child.on("close", (code) => (code === 0 ? resolve(out) : reject(new Error(`${program}: status ${code}: ${err.slice(-600)}`))));
  });
}

const CHROMIUM = {
  args: ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  protocolTimeout: LIMIT,
};

/** A browser of its own for each run, with an empty profile. */
function inChromium(job, { address }) {
  return withPage(async (page) => {
    const others = watchOthers();
    await page.goto(`${address}/tools/bench/page.html?job=${encodeURIComponent(JSON.stringify(job))}`);
    await page.waitForFunction("globalThis.result", { timeout: LIMIT, polling: 250 });
    const result = await page.evaluate("globalThis.result");
    return { ...result, others: others(), rss_mb: peakMemory("--type=renderer") };
  }, "chromium", CHROMIUM);
}

async function inNode(job, { models }) {
  const others = watchOthers();
  // Node.js 20's V8 has relaxed SIMD behind a flag (and its dot is wrong, so only its speed is asked).
  const flags = job.engine === "roofline" && Number.parseInt(process.versions.v8) < 12 ? ["--experimental-wasm-relaxed-simd"] : [];
  const out = await output(process.execPath, [...flags, here("node-child.mjs"), JSON.stringify(job), models]);
  return { ...JSON.parse(/@@(.*)/.exec(out)[1]), others: others() };
}

async function llama(job, { models, python }) {
  const others = watchOthers();
  const out = await output(python, [here("engines/llama_native.py"), JSON.stringify(job), models]);
  return { ...JSON.parse(out), others: others() };
}

/** `pagelm bench`: texts after a short prompt, then long prompts of which the first is a warm-up. */
async function native(job, { models, pagelm }) {
  const { promptTokens, prefillTokens, decodeTokens, decodeRuns, prefillRuns } = job.plan;
  const others = watchOthers();
  const bench = async (prompt, tokens, runs) => {
    const sizes = ["--prompt", prompt, "--tokens", tokens, "--runs", runs].map(String);
    return JSON.parse(await output(pagelm, ["bench", `${models}/${job.model}`, ...sizes, "--json"]));
  };
  const text = await bench(promptTokens, decodeTokens, decodeRuns);
  const prompt = await bench(prefillTokens, 1, prefillRuns + 1);
  return {
    version: job.version, note: text.isa, decode: text.runs, prefill: prompt.prompt_runs.slice(1),
    load_ms: text.load_seconds * 1000, rss_mb: text.memory_bytes / 2 ** 20, others: others(),
  };
}

/** The result of a job; an error is one, too. */
export async function run(job, places) {
  const where = job.engine === "native-llama" ? llama : { chromium: inChromium, node: inNode, native }[job.host];
  try {
    return await where(job, places);
  } catch (error) {
    return { error: String(error?.message ?? error) };
  }
}
