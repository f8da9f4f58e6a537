// Runs one job where it belongs: a page in a fresh Chromium, a Node.js process, a native program.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

import { withPage } from "../web/browser.mjs";
import { peakMemory, watchOthers } from "./processes.mjs";
import { prompt } from "./protocol.mjs";

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
  // Node.js 20 has relaxed SIMD behind a flag, which later ones no longer know.
  const flags = job.engine === "roofline" && process.allowedNodeEnvironmentFlags.has("--experimental-wasm-relaxed-simd")
    ? ["--experimental-wasm-relaxed-simd"] : [];
  const out = await output(process.execPath, [...flags, here("node-child.mjs"), JSON.stringify(job), models]);
  return { ...JSON.parse(/@@(.*)/.exec(out)[1]), others: others() };
}

async function llama(job, { models, python }) {
  const others = watchOthers();
  const out = await output(python, [here("engines/llama_native.py"), JSON.stringify(job), models]);
  return { ...JSON.parse(out), others: others() };
}

/** The command line program: a text after a short prompt, then a long prompt, `runs` times each. */
async function native(job, { models, pagelm }) {
  const { plan, shape } = job;
  const others = watchOthers();
  const generate = async (read, write) => {
    const ids = prompt(read, shape.vocab).join(",");
    const context = Math.min(256, shape.context ?? 256);
    const args = ["generate", `${models}/${job.model}`, "--prompt-ids", ids, "--tokens", write, "--context", context, "--ignore-eos", "--json"];
    return JSON.parse(await output(pagelm, args.map(String)));
  };
  const result = { version: job.version, decode: [], prefill: [] };
  for (let run = 0; run < plan.decodeRuns; run++) {
    const answer = await generate(plan.promptTokens, plan.decodeTokens + 1);
    result.tokens = answer.ids.slice(0, plan.traceTokens + 1);
    result.decode.push(answer.tokens_per_second);
  }
  for (let run = 0; run < plan.prefillRuns; run++) {
    result.prefill.push((await generate(plan.prefillTokens, 1)).prompt_tokens_per_second);
  }
  return { ...result, others: others() };
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
