// node growth.mjs WASM PATTERN TIMES
//
// Runs a pattern of bindings/wasm-bindgen/growth, for a quarter of the times
// and for all of them. Prints {"quarter", "whole"}: the memory of each in bytes.
import { readFile } from "node:fs/promises";

const [file, pattern, times] = process.argv.slice(2);
const module = await WebAssembly.compile(await readFile(file));
async function run(n) {
  const { exports } = await WebAssembly.instantiate(module, {});
  const bytes = exports[pattern](n);
  if (bytes < 0) throw new Error("the allocator gave the same memory twice");
  return bytes;
}
process.stdout.write(`${JSON.stringify({ quarter: await run(times / 4), whole: await run(+times) })}\n`);
