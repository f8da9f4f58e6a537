// Times the matrix products of a build, for work on its kernels.
//
//   node tools/web/products.mjs CHECK.wasm [--chromium] [name part]
//
// CHECK.wasm is a module with the feature `_check`, which `cargo xtask test
// kernels` leaves in target/wasm. Prints, for each shape, the best of many
// short runs: 10^9 multiplications and 10^9 bytes of weights per second. The
// numbers are random; what they are changes nothing.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const DTYPES = { f32: [0, 4, 1], f16: [1, 2, 1], q4_0: [2, 18, 32], q8_0: [8, 34, 32] };

/** name, columns, groups of eight rows, vectors; the cached ones fit a megabyte. */
const SHAPES = [
  ["cached", 512, 32, 1],
  ["batch", 768, 96, 16],
  ["streamed", 768, 6400, 1],
];

async function measure(bytes, dtypes, shapes, part) {
  const env = { pagelm_panic_is_reachable() { throw new Error("panic"); } };
  const { instance } = await WebAssembly.instantiate(bytes, { env });
  const { memory, __heap_base, pagelm_check_product: product } = instance.exports;
  const base = Math.ceil(__heap_base.value / 64) * 64;
  const results = [];
  for (const [shape, k, groups, n] of shapes) {
    for (const [name, [dtype, blockBytes, blockLen]] of Object.entries(dtypes)) {
      if (!`${shape} ${name}`.includes(part)) continue;
      const size = product(dtype, k, groups, n, 0, 0), weights = (groups * 8 * k / blockLen) * blockBytes;
      const short = base + size - memory.buffer.byteLength;
      if (short > 0) memory.grow(Math.ceil(short / 65536));
      const all = new Uint8Array(memory.buffer, base, size);
      let random = 1;
      for (let i = 0; i < size; i++) all[i] = (random = (random * 1103515245 + 12345) >>> 0) >> 16;
      // Numbers near one, so that none is a NaN, and scales likewise.
      if (blockLen === 1) for (let i = dtype ? 1 : 3; i < size; i += dtype ? 2 : 4) all[i] = 0x3c;
      for (let i = 0; i < 4 * n * k; i += 4) all[i + 3] = 0x3e;
      const unit = blockBytes * 8, first = size - Math.ceil(weights / 64) * 64;
      if (blockLen > 1) for (let i = first; i < size; i += unit) for (let j = 0; j < 16; j++) all[i + j] = j & 1 ? 0x28 : all[i + j];
      const macs = groups * 8 * k * n, times = Math.max(1, Math.round(2e7 / macs));
      let best = Infinity;
      for (const end = performance.now() + 2000; performance.now() < end; ) {
        const start = performance.now();
        product(dtype, k, groups, n, base, times);
        best = Math.min(best, (performance.now() - start) / times);
      }
      results.push({ shape, name, gmacs: +(macs / best / 1e6).toFixed(2), gbytes: +(weights / best / 1e6).toFixed(2) });
    }
  }
  return results;
}

const args = process.argv.slice(2);
const chromium = args.includes("--chromium");
const [file, part = ""] = args.filter((arg) => !arg.startsWith("--"));
if (!file) {
  console.error("usage: node tools/web/products.mjs CHECK.wasm [--chromium] [name part]");
  process.exit(2);
}
const wasm = await readFile(file);
let results;
if (chromium) {
  const { withPage } = await import("./browser.mjs");
  // Only an isolated page has a clock of microseconds.
  const headers = { "content-type": "text/html", "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
  const server = createServer((_, response) => response.writeHead(200, headers).end("<!doctype html><title>products</title>"));
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  results = await withPage(async (page) => (await page.goto(`http://127.0.0.1:${server.address().port}/`), page.evaluate(
    `(${measure})(Uint8Array.from(atob("${wasm.toString("base64")}"), (c) => c.charCodeAt(0)), ${JSON.stringify(DTYPES)}, ${JSON.stringify(SHAPES)}, ${JSON.stringify(part)})`,
  )));
  server.close();
} else results = await measure(wasm, DTYPES, SHAPES, part);
for (const { shape, name, gmacs, gbytes } of results) {
  console.log(`${shape.padEnd(10)}${name.padEnd(6)}${gmacs.toFixed(1).padStart(7)} GMAC/s${gbytes.toFixed(1).padStart(7)} GB/s`);
}
