// node drive.mjs ADDRESS DIRECTORY
//
// Uses the demo page as a visitor would, in the headless browser that
// PAGELM_BROWSER names, checks what the visitor sees, and writes screenshots.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";

import { browserName, withPage } from "../../tools/web/browser.mjs";

const [address, directory] = process.argv.slice(2);
const DESKTOP = { width: 1200, height: 900 };
const PHONE = { width: 320, height: 640 };
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

const visit = {
  async "the first model loads and says so"() {
    await ready();
    assert.equal(await text("#load-text"), "Ready");
    assert.match(await text("#memory"), /^\d+\.\d MiB/);
    assert.match(await text("#engine"), /^(simd128|scalar)$/);
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
    assert.match(await text("#context"), /^\d+ of 192$/);
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

/** Only with Chromium's protocol: dark colours, and a server that fails. */
const chromiumOnly = {
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
    await choose("lexicon");
    assert.equal(await page.$eval("#alert", (box) => box.hidden), true);
  },
};

mkdirSync(directory, { recursive: true });
await withPage(async (opened) => {
  page = opened;
  page.on("console", (message) => /error|warn/.test(message.type()) && complaints.push(message.text()));
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
