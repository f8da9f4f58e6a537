// node kernels.mjs CHECK_WASM SEED...
//
// Runs the kernel suite inside the module built with the feature `_check`:
// every case for every seed. Prints {"cases": N, "failed": [[case, seed], ...]}.
import { readFile } from "node:fs/promises";

const [file, ...seeds] = process.argv.slice(2);
// The suite may panic, unlike the shipped modules; a panic then traps here.
const env = {
  pagelm_panic_is_reachable() {
    throw new Error("the kernel suite panicked");
  },
};
const { instance } = await WebAssembly.instantiate(await readFile(file), { env });
const NO_SUCH_CASE = -1;

const run = (number, seed) => instance.exports.pagelm_check(number, seed);

const failed = [];
let cases = 0;
for (; run(cases, 1) !== NO_SUCH_CASE; cases++) {
  for (const seed of seeds.map(Number)) {
    if (run(cases, seed) !== 0) failed.push([cases, seed]);
  }
}
process.stdout.write(`${JSON.stringify({ cases, failed })}\n`);
