// <pagelm-text> as a visitor meets it, in Chromium.
import assert from "node:assert/strict";

import { withPage } from "../browser.mjs";
import { until } from "./browsers.mjs";
import { site } from "./site.mjs";

export async function useElement({ dir, app, shot }) {
  // No style but the page's own sheet: the element brings its own in a way that no policy forbids.
  const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; form-action 'none'";
  const server = await site([dir, app], { "content-security-policy": policy });
  const complaints = [];
  try {
    await withPage(async (page) => {
      page.on("console", (message) => /error|warn/.test(message.type()) && !/favicon/.test(message.location().url) && !/404/.test(message.text()) && complaints.push(message.text()));
      page.on("pageerror", (error) => complaints.push(String(error)));
      await visit(page, server.address, shot);
      await inWorker(page, server.address);
      await attributes(page, server.address);
      await slowly(page, server.address, shot);
      await failing(page, server.address, shot);
    }, "chromium");
    assert.deepEqual(complaints, [], "the console is clean");
  } finally {
    server.close();
  }
}

const of = (page, work, ...args) => page.$eval("pagelm-text", work, ...args);
const part = (page, name) => of(page, (it, name) => it.shadowRoot.querySelector(`[part=${name}]`).textContent, name);
const hidden = (page, name) => of(page, (it, name) => it.shadowRoot.querySelector(`[part=${name}]`).checkVisibility() === false, name);
const idle = (page) => until("the end of the text", () => of(page, (it) => !it.busy && it.text.length > 0));
const BUTTON = "pagelm-text >>> button", PROMPT = "pagelm-text >>> textarea";

async function visit(page, address, shot) {
  const models = [];
  page.on("request", (request) => request.url().endsWith(".gguf") && models.push(request.url()));
  await page.setViewport({ width: 900, height: 620 });
  await page.goto(`${address}/element.html`);
  await until("the element", () => of(page, (it) => it.shadowRoot !== null));
  assert.deepEqual(models, [], "nothing is loaded before it is wanted");
  assert.equal(await hidden(page, "output"), true);
  await named(page);
  await page.screenshot({ path: shot("element-before") });

  await page.click(BUTTON);
  await idle(page);
  const text = await of(page, (it) => it.text);
  assert.ok(text.length > 100, text);
  assert.equal(await part(page, "output"), `The ${text}`);
  assert.match(await part(page, "status"), /^(As long|The model).*: \d+ tokens\.$/);
  assert.equal(await of(page, (it) => it.model.download.stored), true);
  assert.equal(models.length, 1);
  await page.screenshot({ path: shot("element-after") });

  // The keyboard: the same seed writes the same, another one another text; Escape stops.
  await page.focus(PROMPT);
  await control(page, "Enter");
  await idle(page);
  assert.equal(await of(page, (it) => it.text), text);
  await of(page, (it) => it.setAttribute("seed", "43"));
  await control(page, "Enter");
  await idle(page);
  assert.notEqual(await of(page, (it) => it.text), text);
  await of(page, (it) => it.addEventListener("pagelm-token", () => it.stop(), { once: true }));
  await control(page, "Enter");
  await idle(page);
  assert.equal(await part(page, "status"), "Stopped.");
  await of(page, (it) => ((it.generate().then((text) => (it.ended = text))), it.shadowRoot.querySelector("textarea").dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true, composed: true }))));
  assert.equal(await until("Escape", () => of(page, (it) => it.ended === null)), true);
  await looks(page, shot);
  assert.equal(models.length, 1, "one download served all of it");

  // An element that leaves its page gives its memory back.
  const left = await of(page, async (it) => {
    const { model } = it;
    it.remove();
    await new Promise((go) => setTimeout(go));
    return [it.model, (() => { try { model.reset(); } catch (error) { return error.code; } })()];
  });
  assert.deepEqual(left, [null, "DEAD"]);
}

/** What a screen reader hears of the controls. */
async function named(page) {
  const nodes = [], walk = (node) => (nodes.push(`${node.role} ${node.name}`), node.children?.forEach(walk));
  walk(await page.accessibility.snapshot({ interestingOnly: false }));
  for (const node of ["textbox Prompt", "button Generate"]) assert.ok(nodes.includes(node), `${node} in ${nodes.join(", ")}`);
  await page.click("pagelm-text >>> summary");
  const labels = await of(page, (it) => [...it.shadowRoot.querySelectorAll("input")].map((input) => input.labels[0]?.textContent));
  assert.ok(labels.length === 3 && labels.every(Boolean), labels.join());
  await page.click("pagelm-text >>> summary");
}

async function control(page, key) {
  await page.keyboard.down("Control");
  await page.keyboard.press(key);
  await page.keyboard.up("Control");
}

/** Dark colours, a narrow screen, and what a page may change. */
async function looks(page, shot) {
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
  await page.click(BUTTON);
  await idle(page);
  await page.screenshot({ path: shot("element-dark") });
  await page.emulateMediaFeatures([]);
  await page.setViewport({ width: 320, height: 640 });
  assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 320);
  await page.screenshot({ path: shot("element-phone"), fullPage: true });
  await page.setViewport({ width: 900, height: 620 });
  const changed = await of(page, (it) => {
    it.style.setProperty("--pagelm-accent", "rgb(1, 2, 3)");
    return getComputedStyle(it.shadowRoot.querySelector("button")).backgroundColor;
  });
  assert.equal(changed, "rgb(1, 2, 3)");
}

/** A slow line: the progress is seen, and the button stops the download. */
async function slowly(page, address, shot) {
  const protocol = await page.createCDPSession();
  await page.goto(`${address}/element.html`);
  await of(page, (it) => it.removeAttribute("cache"));
  await protocol.send("Network.enable");
  await protocol.send("Network.setCacheDisabled", { cacheDisabled: true });
  await protocol.send("Network.emulateNetworkConditions", { offline: false, latency: 5, downloadThroughput: 400_000, uploadThroughput: 400_000 });
  await page.click(BUTTON);
  await until("some progress", () => of(page, (it) => it.shadowRoot.querySelector("progress").value > 250_000));
  assert.equal(await part(page, "status"), "Loading the model…");
  assert.match(await part(page, "amount"), /^0\.\d MB of 1\.1 MB$/);
  assert.equal(await hidden(page, "load"), false);
  await page.screenshot({ path: shot("element-loading") });
  await page.click(BUTTON);
  await until("the end of the download", () => of(page, (it) => !it.busy));
  assert.equal(await part(page, "status"), "Stopped.");
  assert.deepEqual([await hidden(page, "load"), await hidden(page, "error"), await of(page, (it) => it.model)], [true, true, null]);
  await protocol.detach();
}

/** What the attributes do that the visit has not shown. */
async function attributes(page, address) {
  await page.goto(`${address}/element.html`);
  await of(page, (it) => it.toggleAttribute("disabled", true));
  assert.equal(await of(page, (it) => it.generate()), null);
  await of(page, (it) => it.toggleAttribute("disabled", false));
  await of(page, (it) => it.setAttribute("label", "Beginning"));
  await of(page, (it) => it.setAttribute("rows", 5));
  assert.equal(await part(page, "label"), "Beginning");
  assert.equal(await of(page, (it) => it.shadowRoot.querySelector("textarea").rows), 5);
  const loads = of(page, (it) => new Promise((go) => it.addEventListener("pagelm-load", (event) => go(event.detail.model.info.vocabSize), { once: true })));
  await of(page, (it) => it.toggleAttribute("preload", true));
  assert.ok((await loads) > 1000);
  assert.equal(await part(page, "status"), "Ready.");
  // A stop text and a setting of the visitor's own.
  const text = await of(page, (it) => it.generate());
  await of(page, (it, stop) => it.setAttribute("stop", stop), text.slice(20, 24));
  assert.equal(await of(page, (it) => it.generate()), text.slice(0, text.indexOf(text.slice(20, 24))));
  await of(page, (it) => (it.shadowRoot.querySelector("input#max-tokens").value = 3));
  await of(page, (it) => it.removeAttribute("stop"));
  assert.ok((await of(page, (it) => it.generate())).length < text.length / 4);
  assert.match(await part(page, "status"), /: 3 tokens\.$/);
  // Another model: the one before is given back.
  const code = await of(page, async (it) => {
    const { model } = it;
    it.setAttribute("src", "models/gpt2-basic-bytes.gguf");
    return [await it.load() !== model, (() => { try { model.reset(); } catch (error) { return error.code; } })()];
  });
  assert.deepEqual(code, [true, "DEAD"]);
}

async function inWorker(page, address) {
  await page.goto(`${address}/element-worker.html`);
  await idle(page);
  const { text, want, label } = await of(page, async (it) => {
    const { loadModel } = await import("./pagelm/pagelm.js");
    const model = await loadModel("models/gpt2-basic-bytes.gguf");
    const { text: want } = await model.complete("The ", { temperature: 0.8, seed: 42, maxTokens: 64 });
    return { text: it.text, want, label: it.querySelector("[slot=generate]").checkVisibility() };
  });
  assert.equal(text, want);
  assert.equal(label, true);
}

async function failing(page, address, shot) {
  await page.goto(`${address}/element.html`);
  await of(page, (it) => it.setAttribute("src", "models/none.gguf"));
  await page.click(BUTTON);
  await until("the error", async () => !(await hidden(page, "error")));
  assert.match(await part(page, "error"), /could not be loaded.*none\.gguf.*404.*Check the address/);
  assert.equal(await of(page, (it) => it.busy), false);
  await page.screenshot({ path: shot("element-error") });
  // The way back: a right address, and the error goes.
  await of(page, (it) => it.setAttribute("src", "models/gpt2-basic-bytes.gguf"));
  await page.click(BUTTON);
  await idle(page);
  assert.equal(await hidden(page, "error"), true);
}
