// node run.mjs: measures every engine side by side and writes the report. `cargo xtask bench` prepares what it needs and
// gives the --places; `node run.mjs --help` lists the rest.
import { existsSync, readFileSync } from "node:fs";
import { appendFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { run } from "./hosts.mjs";
import { SHAPES, engineNames, jobsOf, keyOf, smokeJobs } from "./jobs.mjs";
import { machine } from "./machine.mjs";
import { quiet } from "./processes.mjs";
import { planOf } from "./protocol.mjs";
import { report } from "./report/write.mjs";
import { summary } from "./report/summary.mjs";
import { serve } from "./server.mjs";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const HELP = `
Measures pagelm beside the engines people would otherwise use; each round runs every one once.
  --rounds N       how often each is run (3)
  --engines A,B    only engines that begin so: ${engineNames.join(", ")}, roofline
  --models A,B     only these shapes: ${Object.keys(SHAPES).join(", ")}
  --dtypes A,B     only these formats (q8_0, q4_0, f32, fp32, plain.uint8, uint8, int8, layers, ...)
  --hosts A,B      only chromium, node or native
  --quick          one round, one text and one prompt each
  --smoke          pagelm alone with two small models: does the rig itself work?
  --fresh          begin anew although an unfinished run with the same engines is there
  --report         measure nothing, write the report of what was measured last
A run of everything writes tools/bench/results.json and docs/PERFORMANCE.md; a run of a part only below target/bench.
`;
const list = { type: "string" };
const flag = { type: "boolean", default: false };
const OPTIONS = {
  rounds: { type: "string", default: "3" }, engines: list, models: list, dtypes: list, hosts: list, quick: flag, smoke: flag,
  fresh: flag, report: flag, help: flag, places: { type: "string", default: "{}" },
};

function options() {
  const { values } = parseArgs({ options: OPTIONS });
  const parts = (text) => text?.split(",").map((part) => part.trim());
  const filter = { engines: parts(values.engines), models: parts(values.models), dtypes: parts(values.dtypes), hosts: parts(values.hosts) };
  const rounds = values.quick || values.smoke ? 1 : Math.max(1, Number.parseInt(values.rounds, 10) || 3);
  return { ...values, filter, rounds, part: values.quick || values.smoke || Object.values(filter).some(Boolean), places: JSON.parse(values.places) };
}

/** Which pagelm this is: a hash of what is run, so that a new build begins a new run. */
function identity(files) {
  const hash = createHash("sha256");
  for (const file of files) if (existsSync(file)) hash.update(readFileSync(file));
  return hash.digest("hex").slice(0, 12);
}

/** The runs in a file. */
async function read(file) {
  const [, ...lines] = (await readFile(file, "utf8")).trim().split("\n");
  return lines.map((line) => JSON.parse(line));
}

/** The good runs of an unfinished earlier start with the same head, or none. */
async function resume(file, head, fresh) {
  if (fresh || !existsSync(file) || !(await readFile(file, "utf8")).startsWith(`${head}\n`)) return [];
  return (await read(file)).filter(({ error }) => !error);
}

const rate = (list) => (list?.length ? Math.max(...list).toPrecision(4) : "-");

function told(result) {
  if (result.error) return `FAILED: ${result.error.split("\n")[0].slice(0, 150)}`;
  if (result.read_gbs) return `${rate(result.read_gbs)} GB/s`;
  const first = result.first_ms ? `, first token ${result.first_ms.toFixed(0)} ms` : "";
  return `decode ${rate(result.decode)}, prefill ${rate(result.prefill)}${first}${result.others > 0.3 ? `, others busy (${result.others.toFixed(1)})` : ""}`;
}

async function measureAll(file, jobs, rounds, runs, places) {
  const all = rounds * jobs.length;
  const begin = performance.now();
  let measured = 0;
  for (let round = 1; round <= rounds; round++) {
    for (const job of jobs) {
      const key = keyOf(job);
      if (runs.some((run) => run.key === key && run.round === round)) continue;
      await quiet(5);
      let result = await run(job, places);
      if (result.error) result = await run(job, places); // a page may have been unlucky; twice is no luck
      result = { key, round, ...result };
      runs.push(result);
      await appendFile(file, `${JSON.stringify(result)}\n`);
      const left = ((performance.now() - begin) / ++measured) * (all - runs.length) / 60_000;
      console.log(`[${runs.length}/${all}, ${left.toFixed(0)} min left] ${key}: ${told(result)}`);
    }
  }
}

/** The jobs of a round, each with what to do. */
function chosen({ filter, quick, smoke }, build, engine) {
  const jobs = smoke ? smokeJobs() : jobsOf(filter, (name) => existsSync(engine(name)));
  return jobs.map((job) => ({ ...job, plan: planOf(job.shape, { quick, smoke }), version: build }));
}

async function main() {
  const { rounds, part, places, fresh, help, report: only, ...rest } = options();
  if (help) return console.log(HELP);
  const folder = join(ROOT, rest.smoke ? "target/bench-smoke" : "target/bench");
  await mkdir(folder, { recursive: true });
  const engine = (name) => join(ROOT, "bindings/js", name);
  const build = identity([engine("pagelm.wasm"), engine("pagelm-relaxed.wasm"), engine("pagelm.js"), places.pagelm ?? ""]);
  const jobs = chosen(rest, build, engine);
  const file = join(folder, part ? "runs-part.jsonl" : "runs.jsonl");
  const head = JSON.stringify({ build, rounds, jobs: jobs.map((job) => [keyOf(job), job.plan]) });
  const runs = only ? await read(file) : await resume(file, head, fresh);
  if (!only) {
    if (runs.length === rounds * jobs.length) runs.length = 0; // the last run was complete: a new one
    if (runs.length) console.log(`going on after ${runs.length} runs`);
    await writeFile(file, [head, ...runs.map((run) => JSON.stringify(run))].join("\n") + "\n");
    const server = await serve([["/models/", places.models], ["/", ROOT]]);
    await measureAll(file, jobs, rounds, runs, { ...places, address: server.address });
    server.close();
  }
  const results = await summary(jobs, runs, { ...(await machine(places)), build, rounds }, places.models);
  await report(results, part ? folder : ROOT, part);
  return results.rows.every(({ error }) => !error);
}

process.exitCode = (await main()) === false ? 1 : 0;
