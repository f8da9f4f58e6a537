// node bindgen.mjs FOLDER
//
// Uses the page of bindings/wasm-bindgen/example as a visitor would: waits for
// the model, writes. As it is, built by Vite and built by webpack in FOLDER, then
// shortest.html. Prints {PLACE: {"text", "ids"}} as JSON; PNGs go to FOLDER.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { build } from "vite";
import webpack from "webpack";

import { withPage } from "./browser.mjs";
import { site } from "./package/site.mjs";

const folder = resolve(process.argv[2]), root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const crate = join(root, "bindings/wasm-bindgen"), models = join(root, "examples/models");

/** The example beside one form of the package, as in the repository; the folder of the page. */
function copy(name, form) {
  for (const part of ["example", form]) cpSync(join(crate, part), join(folder, name, part), { recursive: true });
  return join(folder, name, "example");
}

async function byVite() {
  const dir = copy("vite", "pkg"), out = join(dir, "dist");
  await build({ root: dir, configFile: false, logLevel: "warn", build: { outDir: out, target: "esnext" } });
  return out;
}

/** webpack takes the form that needs no `init`. */
async function byWebpack() {
  const dir = copy("webpack", "pkg-bundler"), out = join(dir, "dist"), main = join(dir, "main.js");
  const program = readFileSync(main, "utf8").replace('init, { loadModel } from "../pkg/', '{ loadModel } from "../pkg-bundler/').replace("await init();\n", "");
  writeFileSync(main, program);
  const options = { mode: "production", context: dir, entry: "./main.js", output: { path: out, filename: "main.js" }, experiments: { asyncWebAssembly: true }, performance: { hints: false } };
  const stats = await new Promise((done, failed) => webpack(options, (error, stats) => (error ? failed(error) : done(stats))));
  if (stats.hasErrors() || stats.hasWarnings()) throw new Error(stats.toString());
  cpSync(join(dir, "index.html"), join(out, "index.html"));
  return out;
}

async function until(page, what, check) {
  for (const end = Date.now() + 240_000; Date.now() < end; await setTimeout(50)) {
    if (await page.evaluate(check)) return;
  }
  throw new Error(`waited 240 s for ${what}: ${await page.evaluate(() => document.body.innerText)}`);
}

async function write(page, address, png) {
  await page.goto(address);
  await until(page, "the model", () => !document.getElementById("go").disabled);
  await page.click("#go");
  await until(page, "the text", () => document.getElementById("text").dataset.ids);
  await page.screenshot({ path: png });
  return page.evaluate(() => {
    const text = document.getElementById("text");
    return { text: text.textContent, ids: text.dataset.ids.split(" ").map(Number) };
  });
}

async function shortest(page, address) {
  await page.goto(address);
  await until(page, "the shortest page", () => document.title === "done");
  return { text: await page.evaluate(() => document.getElementById("text").textContent) };
}

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const example = "/bindings/wasm-bindgen/example/";
const places = [["page", root, example], ["vite", await byVite(), "/"], ["webpack", await byWebpack(), "/"]];
const answer = await withPage(async (page) => {
  await page.setViewport({ width: 720, height: 480 });
  const answers = {};
  for (const [name, dir, path] of places) {
    const { address, close } = await site([dir, models]);
    answers[name] = await write(page, `${address}${path}?model=/gpt2-basic-lexicon.gguf`, join(folder, `${name}.png`));
    if (name === "page") answers.shortest = await shortest(page, `${address}${path}shortest.html`);
    close();
  }
  return answers;
}, "chromium");
process.stdout.write(`${JSON.stringify(answer)}\n`);
