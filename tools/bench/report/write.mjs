// Writes results.json, the plots, and what stands between the markers of docs/PERFORMANCE.md and README.md.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { bars } from "./bars.mjs";
import { headline } from "./headline.mjs";
import { plots } from "./plot.mjs";
import { markdown } from "./tables.mjs";

const BEGIN = "<!-- bench: begin, written by `cargo xtask bench` -->";
const END = "<!-- bench: end -->";

/** The results as JSON with a line for each row. */
export function json({ about, rows }) {
  const lines = rows.map((row) => `    ${JSON.stringify(row)}`);
  return `{\n  "about": ${JSON.stringify(about)},\n  "rows": [\n${lines.join(",\n")}\n  ]\n}\n`;
}

/** `text` with what is between the markers replaced. */
export function between(text, body) {
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`the page has no line \`${BEGIN}\` before a line \`${END}\``);
  return `${text.slice(0, begin)}${BEGIN}\n\n${body}\n\n${text.slice(end)}`;
}

async function write(file, text) {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
  console.log(`  wrote ${file}`);
}

function told(results) {
  for (const { text, bar, value, reached } of bars(results)) {
    console.log(`  ${reached ? "reached" : "MISSED "} ${text}: ${value} (bar ${bar})`);
  }
}

/** A whole run goes to the project's own files, a part of one to `folder`. */
export async function report(results, folder, part) {
  const drawn = plots(results);
  const body = markdown(results, drawn);
  const docs = join(folder, part ? "" : "docs");
  await write(join(folder, part ? "results.json" : "tools/bench/results.json"), json(results));
  for (const { file, svg } of drawn) await write(join(docs, file), svg);
  if (part) {
    await write(join(folder, "report.md"), `${body}\n`);
  } else {
    const page = join(docs, "PERFORMANCE.md");
    await write(page, between(await readFile(page, "utf8"), body));
    const readme = join(folder, "README.md");
    await write(readme, between(await readFile(readme, "utf8"), headline(results)));
  }
  told(results);
}
