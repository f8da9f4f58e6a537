// node sizes.mjs [--write]
//
// What a page downloads of the npm package, bundled and minified by esbuild as most people serve it,
// held against the table in docs/SIZES.md; `--write` writes the table.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";

import * as esbuild from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");
const PACKAGE = join(root, "bindings/js"), DOC = join(root, "docs/SIZES.md");
const BEGIN = "<!-- package: begin, written by `cargo xtask sizes` -->\n", END = "<!-- package: end -->";
const TOLERANCE = 0.02;
const ROWS = {
  "`pagelm/core`": "pagelm.js",
  "`pagelm`, the whole entry": "index.js",
  "its worker (with `where: \"worker\"`)": "worker.js",
  "`pagelm/element`, the whole entry in it": "element.js",
};

async function measure() {
  const rows = [];
  for (const [name, file] of Object.entries(ROWS)) {
    const { outputFiles: [{ contents }] } = await esbuild.build({ entryPoints: [join(PACKAGE, file)], bundle: true, minify: true, format: "esm", write: false, logLevel: "error" });
    rows.push([name, contents.length, gzipSync(contents, { level: 9 }).length, brotliCompressSync(contents).length]);
  }
  return rows;
}

/** The row of the comparison with others: the two files that the smallest page loads, as they are. */
const OWN = /^(\| \*\*pagelm\*\*.*?: [^|]*\| )([\d,]+) \| ([\d,]+) \| \*\*([\d,]+)\*\* \|$/m;
function own() {
  const sums = [0, 0, 0];
  for (const file of ["pagelm.wasm", "pagelm.js"]) {
    const bytes = readFileSync(join(PACKAGE, file));
    [bytes, gzipSync(bytes, { level: 9 }), brotliCompressSync(bytes)].forEach(({ length }, i) => (sums[i] += length));
  }
  return sums;
}

const near = (n, told) => Math.abs(n - told) <= TOLERANCE * told;
const table = (rows) => ["| entry, bundled and minified | raw | gzip -9 | brotli 11 |", "|---|---:|---:|---:|", ...rows.map((row) => `| ${row.join(" | ")} |`), ""].join("\n");

/** Throws where the table says something else, by more than 2 %. */
export async function checkSizes() {
  const rows = await measure(), text = readFileSync(DOC, "utf8");
  const recorded = text.slice(text.indexOf(BEGIN) + BEGIN.length, text.indexOf(END)).split("\n").slice(2, -1).map((row) => row.split("|").map((cell) => cell.trim()).slice(1, -1));
  if (recorded.length !== rows.length) throw new Error(`docs/SIZES.md lists ${recorded.length} entries, not ${rows.length}; run \`cargo xtask sizes\``);
  rows.forEach(([name, ...numbers], i) => {
    const told = recorded[i].slice(1).map(Number);
    const wrong = recorded[i][0] !== name || !numbers.every((n, k) => near(n, told[k]));
    if (wrong) throw new Error(`${name}: docs/SIZES.md says ${told.join(", ")}, it is ${numbers.join(", ")}; run \`cargo xtask sizes\``);
  });
  const [, , ...told] = OWN.exec(text) ?? [], numbers = own();
  if (!numbers.every((n, k) => near(n, Number(told[k]?.replaceAll(",", ""))))) throw new Error(`docs/SIZES.md, Beside others: pagelm is ${numbers.join(", ")}, not ${told.join(", ")}; run \`cargo xtask sizes\``);
}

if (process.argv[2] === "--write") {
  const text = readFileSync(DOC, "utf8"), [raw, gzip, brotli] = own().map((n) => n.toLocaleString("en"));
  const written = text.slice(0, text.indexOf(BEGIN) + BEGIN.length) + table(await measure()) + text.slice(text.indexOf(END));
  writeFileSync(DOC, written.replace(OWN, (_, start) => `${start}${raw} | ${gzip} | **${brotli}** |`));
}
