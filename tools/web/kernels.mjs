// node kernels.mjs node|chromium|firefox CHECK_WASM SEED...
//
// Runs the kernel suite inside a module built with the feature `_check`, here
// or in a browser: every case for every seed. Prints
// {"cases": N, "failed": [[case, seed], ...]}.
import { readFile } from "node:fs/promises";
import { allowRelaxed } from "./relaxed.mjs";

/** Also sent to a browser as text, so it uses nothing from outside. */
async function suite(base64, seeds) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  // The suite may panic, unlike the shipped modules; a panic then traps here.
  const env = {
    pagelm_panic_is_reachable() {
      throw new Error("the kernel suite panicked");
    },
  };
  const { instance } = await WebAssembly.instantiate(bytes, { env });
  const NO_SUCH_CASE = -1;
  const run = (number, seed) => instance.exports.pagelm_check(number, seed);
  const failed = [];
  let cases = 0;
  for (; run(cases, 1) !== NO_SUCH_CASE; cases++) {
    for (const seed of seeds) {
      if (run(cases, seed) !== 0) failed.push([cases, seed]);
    }
  }
  return { cases, failed };
}

const [host, file, ...seeds] = process.argv.slice(2);
const base64 = (await readFile(file)).toString("base64");
const numbers = seeds.map(Number);
let answer;
if (host === "node") {
  allowRelaxed();
  answer = await suite(base64, numbers);
} else {
  const { withPage } = await import("./browser.mjs");
  answer = await withPage((page) => page.evaluate(`(${suite})(${JSON.stringify(base64)}, ${JSON.stringify(numbers)})`), host);
}
process.stdout.write(`${JSON.stringify(answer)}\n`);
