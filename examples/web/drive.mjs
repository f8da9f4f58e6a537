// node drive.mjs ADDRESS DIRECTORY
//
// Uses the demo page as a visitor would, in the headless browser that
// PAGELM_BROWSER names, checks what the visitor sees, and writes screenshots.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";

import { browserName, withPage } from "../../tools/web/browser.mjs";

const [address, directory] = process.argv.slice(2);
const DESKTOP = { width: 1200, height: 900 };
const PHONE = { width: 320, height: 640 };
const HERE = import.meta.dirname;
const MODELS = join(HERE, "../models");
const CHOICES = JSON.parse(readFileSync(join(HERE, "models.json"), "utf8"));
const FIRST = CHOICES[0].id;
/** What a page may cost before its model, as sent. */
const PAGE_BYTES = 100 * 1024;
const complaints = [];
let page;

// The page's policy forbids what puppeteer's own waiting compiles, so it is asked again and again.
async function until(what, condition, ...args) {
  for (const end = Date.now() + 30_000; Date.now() < end; await setTimeout(40)) {
    if (await page.evaluate(condition, ...args)) return;
  }
  throw new Error(`${what}: not within 30 s; the page says: ${await text("#alert")}`);
}

const text = (selector) => page.$eval(selector, (element) => element.textContent);
const value = (selector) => page.$eval(selector, (element) => element.value);
const written = async () => (await text("#text")).slice((await value("#prompt")).length);
const ready = () => until("the model is ready", () => !document.querySelector("#write").disabled);
const ended = () => until("the text ends", () => document.querySelector("#stop").disabled && !document.querySelector("#write").disabled);
const shot = (name) => page.screenshot({ path: join(directory, `${name}.png`), fullPage: true });

async function set(selector, to) {
  await page.$eval(selector, (element, to) => {
    element.value = to;
    element.dispatchEvent(new Event("input", { bubbles: true }));
  }, String(to));
}

async function choose(model) {
  await page.select("#model", model);
  await until(`${model} is ready`, (model) => document.querySelector("#model").value === model && !document.querySelector("#write").disabled, model);
}

async function generate() {
  await page.click("#write");
  await ended();
  return written();
}

async function checked(selector, wanted) {
  const now = await page.$eval(selector, (box) => box.checked);
  if (now !== wanted) await page.click(selector);
}

/** What the bars say: the tokens' shares of probability. */
const shares = () => page.$$eval("#bars li", (rows) => rows.map((row) => Number(row.style.getPropertyValue("--share"))));

/** How many pixels of a canvas have something on them that is no thin grey line. */
const inkOf = (selector) => page.$eval(selector, (canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const [line] = [getComputedStyle(canvas).getPropertyValue("--red")];
  const red = Number.parseInt(line.slice(1, 3), 16);
  let ink = 0;
  for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 40 && Math.abs(data[i] - red) < 30) ink++;
  return ink;
});

const visit = {
  async "the first model loads and says so"() {
    await ready();
    assert.equal(await text("#load-text"), "Ready");
    assert.match(await text("#memory"), /^\d+\.\d MiB/);
    assert.match(await text("#engine"), /^(relaxed|simd128|scalar)$/);
    assert.match(await text("#status"), /is ready/);
  },

  async "a typed prompt gives a text, bars and readings"() {
    await page.$eval("#sampling", (details) => (details.open = true));
    await checked("#pace", false);
    await page.focus("#prompt");
    await page.$eval("#prompt", (area) => area.select());
    await page.keyboard.type("What makes this real inference?");
    const story = await generate();
    assert.ok(story.length > 100, `only: ${story}`);
    assert.match(story, /[a-z]{3,} [a-z]{2,}/);
    assert.ok(!story.includes("\ufffd"));
    const all = await shares();
    assert.equal(all.length, 10);
    assert.ok(all.every((share, i) => share >= 0 && share <= 1 && (i === 0 || share <= all[i - 1])), all.join(" "));
    assert.ok(all.reduce((sum, share) => sum + share) <= 1.001);
    assert.ok(Number((await text("#rate")).replace(/\D/g, "")) > 0);
    assert.match(await text("#context"), /^\d+ of 256$/);
    assert.match(await text("#status"), /tokens.*a second/);
  },

  async "the same seed gives the same text, another seed another"() {
    await set("#temperature", 2);
    await set("#topP", 0);
    await set("#seed", 11);
    const once = await generate();
    assert.equal(await generate(), once);
    await set("#seed", 12);
    assert.notEqual(await generate(), once);
  },

  async "temperature 0 does not care for the seed"() {
    await set("#temperature", 0);
    const once = await generate();
    await page.click("#dice");
    assert.notEqual(await value("#seed"), "12");
    assert.equal(await generate(), once);
  },

  async "fewer tokens make a shorter text"() {
    await set("#maxTokens", 10);
    await generate();
    assert.equal(await text("#count"), "10");
    assert.equal(await text("#ended"), "As long as was asked for.");
    await set("#maxTokens", 150);
  },

  async "the text has a fingerprint, and a command line that writes it elsewhere"() {
    const hash = await text("#hash");
    assert.match(hash, /^[0-9a-f]{16}$/);
    const command = await text("#command");
    assert.match(command, /^pagelm generate .*--seed \d+/);
    if (!process.env.PAGELM_CLI) return;
    const answer = execFileSync("sh", ["-c", `cd "$MODELS" && exec "$PAGELM_CLI" ${command.slice("pagelm ".length)}`], { env: { ...process.env, MODELS } });
    assert.equal(JSON.parse(answer).ids_fnv1a64, hash, "natively it is another text");
  },

  async "this browser writes what the others write"() {
    for (const { id, check } of CHOICES.filter(({ check }) => check)) {
      await choose(id);
      await page.click("#check");
      await until("the check ends", () => document.querySelector("#check-says").textContent !== "");
      assert.match(await text("#check-says"), /writes the same/);
      assert.ok((await text("#check-says")).includes(check.hash));
    }
    await choose(FIRST);
  },

  async "two models write side by side, each as it would alone"() {
    await checked("#pace", false);
    await set("#seed", 5);
    await set("#temperature", 0.7);
    const other = CHOICES.find(({ id, kind }) => id !== FIRST && kind === "text").id;
    const prompt = await value("#prompt");
    const alone = await generate();
    await page.select("#model2", other);
    await until("the second is ready", () => !document.querySelector("#write").disabled && document.querySelector("#load2").hidden);
    assert.equal(await generate(), alone);
    const beside = await text("#text2");
    assert.ok(beside.startsWith(prompt) && beside.length > prompt.length + 20, beside);
    assert.match(await text("#rate2"), /^[\d.,]+$/);
    await shot(`${browserName()}-beside`);
    await page.select("#model2", "none");
    assert.equal(await page.$eval("#second", (figure) => figure.hidden), true);
  },

  async "the plot and the view inside are drawn"() {
    await generate();
    assert.ok((await inkOf("#plot")) > 200, "the plot is empty");
    assert.ok((await inkOf("#inside")) > 200, "the view inside is empty");
    assert.match(await page.$eval("#plot", (plot) => plot.getAttribute("aria-label")), /from 0 to [\d,.]+/);
    const recurrent = CHOICES.find(({ inside }) => inside === "state").id;
    await choose(recurrent);
    assert.equal(await inkOf("#inside"), 0);
    await generate();
    assert.ok((await inkOf("#inside")) > 200, "the state is not drawn");
    assert.match(await page.$eval("#inside", (view) => view.getAttribute("aria-label")), /State of layer 1, \d+ numbers/);
    await shot(`${browserName()}-state`);
    await choose(FIRST);
  },

  async "the sizes in the list are the files'"() {
    for (const { file, size } of CHOICES) assert.equal(statSync(join(HERE, file)).size, size, file);
  },

  async "stop stops"() {
    await checked("#pace", true);
    await set("#temperature", 1);
    await set("#seed", 1);
    await set("#prompt", "DOS language models need");
    await page.click("#write");
    await until("some text", () => document.querySelector("#text").textContent.length > 200);
    assert.equal(await page.$eval("#write", (button) => button.disabled), true);
    assert.equal(await page.$$eval("#bars [aria-current]", (rows) => rows.length <= 1), true);
    await shot(`${browserName()}-writing`);
    await page.click("#stop");
    await ended();
    const story = await written();
    await setTimeout(300);
    assert.equal(await written(), story);
    assert.equal(await text("#ended"), "Stopped.");
  },

  async "the keyboard alone is enough"() {
    await checked("#pace", false);
    await set("#temperature", 0);
    await page.focus("#prompt");
    await page.keyboard.down("Control");
    await page.keyboard.press("Enter");
    await page.keyboard.up("Control");
    await until("the text begins", () => document.querySelector("#text").textContent.length > 60);
    await ended();
    await page.focus("#model");
    const seen = new Set();
    for (let i = 0; i < 12; i++) {
      await page.keyboard.press("Tab");
      seen.add(await page.evaluate(() => document.activeElement.id || document.activeElement.parentElement.id));
    }
    for (const id of ["prompt", "prompts", "write", "pace", "temperature"]) assert.ok(seen.has(id), `Tab does not reach ${id}: ${[...seen]}`);
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(outline, "none");
  },

  async "an example prompt is one click"() {
    await choose("bytes");
    await page.click("#prompts button:nth-child(2)");
    await until("the text begins", () => document.querySelector("#text").textContent.length > 20);
    await ended();
    assert.equal(await value("#prompt"), "A small machine ");
    assert.ok((await written()).length > 10);
  },

  async "a prompt that is too long is refused in words"() {
    const before = await value("#prompt");
    await set("#prompt", "a".repeat(300));
    await page.click("#write");
    await until("the alert", () => !document.querySelector("#alert").hidden);
    assert.match(await text("#alert"), /300 tokens/);
    await set("#prompt", before);
    await generate();
    assert.equal(await page.$eval("#alert", (box) => box.hidden), true);
  },

  async "digits are sorted"() {
    await choose("sort");
    await set("#digits", "210210");
    await page.click("#write");
    await ended();
    assert.equal(await page.$eval("#tiles-out", (tiles) => tiles.textContent), "001122");
    assert.match(await page.$eval("#tiles-out", (tiles) => tiles.getAttribute("aria-label")), /0 0 1 1 2 2/);
    assert.match(await text("#verdict"), /Sorted/);
    assert.equal((await shares()).length, 3);
    await shot(`${browserName()}-sort`);
  },

  async "digits that are none are refused in words"() {
    await set("#digits", "217");
    await page.click("#write");
    await until("the alert", () => !document.querySelector("#alert").hidden);
    assert.match(await text("#alert"), /six digits/);
    await page.click("#shuffle");
    await page.click("#write");
    await ended();
    assert.match(await text("#verdict"), /Sorted/);
  },

  async "everything has a name for a screen reader"() {
    const nameless = await page.$$eval("button, input, select, textarea, progress, [role=img]", (all) => all
      .filter((it) => !(it.labels?.length || it.getAttribute("aria-label") || (it.localName === "button" && it.textContent.trim())))
      .map((it) => it.outerHTML));
    assert.deepEqual(nameless, []);
  },

  async "a phone of 320 pixels has room for it"() {
    await page.setViewport(PHONE);
    for (const model of ["sort", "lexicon"]) {
      await choose(model);
      await page.click("#write");
      await ended();
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= PHONE.width, `${model}: ${width} pixels wide`);
      await shot(`${browserName()}-phone-${model}`);
    }
    const small = await page.$$eval("button, select, input:not([type=checkbox]), summary", (all) => all
      .map((it) => [it.id || it.textContent, it.getBoundingClientRect()])
      .filter(([, box]) => box.height > 0 && (box.height < 32 || box.width < 44))
      .map(([name]) => name));
    assert.deepEqual(small, []);
  },
};

/** Only with Chromium's protocol: dark colours, what was sent, no network, and a server that fails. */
const chromiumOnly = {
  async "the page weighs little before its model, and its first token comes soon"() {
    const other = await page.browser().newPage();
    const session = await other.createCDPSession();
    await session.send("Network.enable");
    const addresses = new Map();
    let sent = 0;
    session.on("Network.requestWillBeSent", ({ requestId, request }) => addresses.set(requestId, request.url));
    session.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
      if (!/\.gguf$/.test(addresses.get(requestId))) sent += encodedDataLength;
    });
    await session.send("Network.setBypassServiceWorker", { bypass: true });
    await other.goto(address);
    await other.waitForSelector("#write:not([disabled])");
    const first = await other.evaluate(async () => {
      document.querySelector("#write").click();
      while (document.querySelector("#count").textContent === "–") await new Promise((go) => setTimeout(go, 1));
      return performance.now();
    });
    console.log(`figures: ${sent} bytes before the model; first token ${Math.round(first)} ms after navigation`);
    assert.ok(sent < PAGE_BYTES, `${sent} bytes`);
    await other.close();
  },

  async "a picture for the README"() {
    const other = await page.browser().newPage();
    const session = await other.createCDPSession();
    await session.send("Network.enable");
    await session.send("Network.setBypassServiceWorker", { bypass: true });
    await other.setViewport({ width: 1200, height: 1180 });
    await other.goto(address);
    await other.waitForSelector("#write:not([disabled])");
    await other.evaluate(() => {
      document.querySelector("#sampling").open = false;
      document.querySelector("#pace").checked = false;
      document.querySelector(".same").hidden = true;
      document.querySelector("#write").click();
    });
    await other.waitForSelector("#stop[disabled]");
    await other.waitForSelector("#write:not([disabled])");
    await other.screenshot({ path: join(directory, "chromium-readme.png") });
    await other.close();
  },

  async "it opens and writes without a network"() {
    await until("it is kept", async () => Boolean(navigator.serviceWorker.controller) && (await caches.has("pagelm-demo")));
    await page.reload();
    await ready();
    const before = complaints.length;
    const worker = await page.browser().waitForTarget((target) => target.type() === "service_worker");
    const network = await worker.createCDPSession();
    const offline = { offline: true, latency: 0, downloadThroughput: 0, uploadThroughput: 0 };
    await network.send("Network.enable");
    await network.send("Network.emulateNetworkConditions", offline);
    await page.setOfflineMode(true);
    try {
      await page.reload();
      await ready();
      assert.ok((await generate()).length > 20);
    } finally {
      await network.send("Network.emulateNetworkConditions", { ...offline, offline: false });
      await page.setOfflineMode(false);
    }
    complaints.splice(before);
  },

  async "the smallest page writes"() {
    const other = await page.browser().newPage();
    await other.goto(new URL("minimal.html", address).href);
    await other.waitForSelector("button:not([disabled])");
    await other.click("button");
    await other.waitForFunction(() => document.querySelector("#text").textContent.length > 40);
    await other.screenshot({ path: join(directory, "chromium-minimal.png") });
    await other.close();
    const lines = readFileSync(join(HERE, "minimal.html"), "utf8").trim().split("\n").length;
    assert.ok(lines < 30, `${lines} lines`);
  },

  async "dark colours"() {
    await page.setViewport(DESKTOP);
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
    await choose("bytes");
    await choose("lexicon");
    await generate();
    await shot("chromium-dark");
    await page.emulateMediaFeatures([]);
  },

  async "a model that cannot be had is an error in words"() {
    // The worker of offline use would answer in the page's place.
    const session = await page.createCDPSession();
    await session.send("Network.enable");
    await session.send("Network.setBypassServiceWorker", { bypass: true });
    await page.setRequestInterception(true);
    const spoil = (request) => (request.url().endsWith("bytes.gguf") ? request.respond({ status: 404, body: "gone" }) : request.continue());
    page.on("request", spoil);
    const before = complaints.length;
    await page.select("#model", "bytes");
    await until("the alert", () => !document.querySelector("#alert").hidden);
    assert.match(await text("#alert"), /bytes\.gguf.*404/);
    assert.equal(await page.$eval("#write", (button) => button.disabled), true);
    complaints.splice(before); // the browser's own line about the 404
    page.off("request", spoil);
    await page.setRequestInterception(false);
    await session.detach();
    await choose("lexicon");
    assert.equal(await page.$eval("#alert", (box) => box.hidden), true);
  },
};

mkdirSync(directory, { recursive: true });
await withPage(async (opened) => {
  page = opened;
  // Chromium's advice on reading a canvas often is meant for inkOf, not for the page.
  page.on("console", (message) => /error|warn/.test(message.type()) && !message.text().includes("willReadFrequently") && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error?.message ?? error)));
  await page.setViewport(DESKTOP);
  await page.goto(address);
  for (const [name, step] of Object.entries({ ...visit, ...(browserName() === "chromium" ? chromiumOnly : {}) })) {
    await step().catch((error) => {
      error.message = `${name}: ${error.message}`;
      throw error;
    });
    console.log(`seen: ${name}`);
  }
  assert.deepEqual(complaints, [], "the console is clean");
});
