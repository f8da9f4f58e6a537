// node drive.mjs ADDRESS DIRECTORY
//
// Uses this folder's page and the one of examples/first as a visitor would, in the headless browser
// that PAGELM_BROWSER names, checks what the visitor sees, and writes screenshots. PAGELM_HASHES
// has the hashes of the two texts that every host writes.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";

import { browserName, withPage } from "../tools/web/browser.mjs";

const [address, directory] = process.argv.slice(2);
const [greedy, sampled] = process.env.PAGELM_HASHES.split(",");
const complaints = [];
let page;

// The page's policy forbids what puppeteer's own waiting compiles, so it is asked again and again.
async function until(what, condition, ...args) {
  for (const end = Date.now() + 60_000; Date.now() < end; await setTimeout(40)) {
    if (await page.evaluate(condition, ...args)) return;
  }
  throw new Error(`${what}: not within 60 s; the page says: ${await text("#alert")} / ${await text("#status")}`);
}

const text = (selector) => page.$eval(selector, (element) => element.textContent);
const shot = (name) => page.screenshot({ path: join(directory, `${browserName()}-${name}.png`), fullPage: true });
const ready = () => until("the model is ready", () => !document.querySelector("#write").disabled);
const idle = () => until("the page is idle", () => document.querySelector("#stop").disabled);

async function set(values) {
  for (const [id, value] of Object.entries(values)) {
    await page.$eval(`#${id}`, (element, value) => (element.value = value), String(value));
  }
}

async function load(model) {
  await page.select("#model", model);
  await page.click("#load");
  await idle();
}

async function write() {
  await page.click("#write");
  await idle();
  return text("#text");
}

const visit = {
  async "the first model loads and writes"() {
    await ready();
    assert.equal(await text("#status"), "Ready.");
    assert.ok(await page.$eval("#loading", (row) => row.hidden));
    const story = await write();
    assert.ok(story.length > 100, story);
    assert.match(await text("#status"), /^\d+ tokens in [\d.]+ s, hash [0-9a-f]{16}$/);
    await shot("written");
  },

  async "the same tokens as every host"() {
    await set({ prompt: "The ", tokens: 64, temperature: 0, seed: 0 });
    await write();
    assert.match(await text("#status"), new RegExp(greedy));
    await load("gpt2-basic-bytes.gguf");
    await set({ temperature: 0.8, seed: 42 });
    await write();
    assert.match(await text("#status"), new RegExp(sampled));
  },

  async "a recurrent network writes, and stop stops"() {
    await load("shakespeare.gguf");
    await set({ prompt: "ROMEO:\n", tokens: 1_000_000, temperature: 0.8 });
    await page.click("#write");
    await until("some text", () => document.querySelector("#text").textContent.length > 20);
    await page.click("#stop");
    await idle();
    const story = await text("#text");
    await setTimeout(200);
    assert.equal(await text("#text"), story);
    assert.match(await text("#status"), /^Stopped: \d+ tokens/);
  },

  async "a server's error, a file that is no model and a bad number are shown in words"() {
    const refused = async (option, words) => {
      await page.$eval("#model", (list, option) => (list.options[0].value = option), option);
      await load(option);
      assert.match(await text("#alert"), words);
      assert.ok(await page.$eval("#alert", (alert) => !alert.hidden));
      assert.ok(await page.$eval("#write", (button) => button.disabled));
    };
    await refused("no-such.gguf", /no-such\.gguf: the server says 404/);
    await refused("README.md", /README\.md: this is not a GGUF file/);
    await shot("refused");
    await load("gpt2-basic-bytes.gguf");
    assert.ok(await page.$eval("#alert", (alert) => alert.hidden));
    await set({ tokens: "" });
    await write();
    assert.match(await text("#alert"), /must be numbers/);
    await set({ tokens: 10, prompt: "a".repeat(100000) });
    await write();
    assert.match(await text("#alert"), /text/);
  },

  async "a download is shown and can be stopped"() {
    // A download that stands still halfway, and that ends only by its signal.
    await page.evaluate(() => {
      const fetch = globalThis.fetch;
      globalThis.fetch = async (url, { signal }) => {
        globalThis.fetch = fetch;
        const bytes = await (await fetch(url)).arrayBuffer();
        const start = (stream) => {
          stream.enqueue(new Uint8Array(bytes, 0, bytes.byteLength / 2));
          signal.addEventListener("abort", () => stream.error(signal.reason));
        };
        return new Response(new ReadableStream({ start }));
      };
    });
    await page.select("#model", "stories-gru.gguf");
    await page.click("#load");
    await until("progress", () => document.querySelector("#loaded").textContent === "0.2 MB of 0.5 MB");
    await shot("loading");
    await page.click("#stop");
    await idle();
    assert.equal(await text("#status"), "Stopped.");
    assert.ok(await page.$eval("#write", (button) => button.disabled));
    await load("stories-gru.gguf");
    await set({ prompt: "Once upon ", tokens: 20 });
    assert.ok((await write()).length > 5);
  },

  async "a phone of 320 pixels has room for it"() {
    await page.setViewport({ width: 320, height: 640 });
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 320, `${width} pixels wide`);
    await shot("phone");
  },

  async "the first example: a C function and a network"() {
    await page.setViewport({ width: 1000, height: 700 });
    await page.goto(`${address}/examples/first/`);
    await until("the curves", () => "done" in document.body.dataset || document.querySelector("#alert").textContent);
    assert.equal(await text("#alert"), "");
    await shot("first");
    const curve = (id) => page.$eval(`#${id} polyline`, (line) => [...line.points].map((point) => -point.y));
    const signal = await curve("signal");
    const smooth = await curve("smooth");
    signal.forEach((_, i) => {
      const part = signal.slice(Math.max(0, i - 5), i + 6);
      const mean = part.reduce((sum, x) => sum + x) / part.length;
      assert.ok(Math.abs(smooth[i] - mean) < 1e-5, `sample ${i}: ${smooth[i]}, not ${mean}`);
    });
    // PyTorch's own answer for this signal.
    const file = new URL("../tests/data/denoise/filtered.txt", import.meta.url);
    const wanted = readFileSync(file, "utf8").trim().split("\n").map(Number);
    const network = await curve("network");
    assert.equal(network.length, wanted.length);
    wanted.forEach((want, i) => assert.ok(Math.abs(network[i] - want) < 1e-5, `sample ${i}: ${network[i]}, not ${want}`));
  },
};

await withPage(async (opened) => {
  page = opened;
  page.on("pageerror", (error) => complaints.push(`page error: ${error?.message ?? error}`));
  page.on("console", (message) => {
    // A browser writes an answer 404 to its console by itself.
    if (message.type() === "error" && !/404/.test(message.text())) complaints.push(message.text());
  });
  await page.setViewport({ width: 1000, height: 700 });
  await page.goto(`${address}/emscripten/`);
  for (const [name, check] of Object.entries(visit)) {
    try {
      await check();
    } catch (error) {
      await shot("failed").catch(() => {});
      throw new Error(`${name}: ${error.message}`, { cause: error });
    }
    console.log(`ok ${name}`);
  }
  assert.deepEqual(complaints, []);
});
