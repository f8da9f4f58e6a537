// Places with rules of their own: a strict policy, and storage that is refused.
import assert from "node:assert/strict";

import { withPage } from "../browser.mjs";
import { inChromium, inFirefox } from "./browsers.mjs";
import { site } from "./site.mjs";

/** As strict as it can be: no style, no picture, no frame, nothing from anywhere else. */
const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; base-uri 'none'; form-action 'none'";

export async function strictPolicy({ dir, visited }) {
  for (const browse of [inChromium, inFirefox]) await visited(dir, (address) => browse(address), "/", { "content-security-policy": POLICY });
}

/** A worker that cannot start is an error in words, and the model still runs in the page. */
export async function noWorker({ dir, app }) {
  const forbidden = await site([dir, app], { "content-security-policy": `${POLICY}; worker-src 'none'` });
  const missing = await site([dir, app], {}, {}, ["/pagelm/worker.js"]);
  try {
    for (const [{ address }, browser] of [forbidden, missing].flatMap((server) => ["chromium", "firefox"].map((name) => [server, name]))) {
      await withPage(async (page) => {
        await page.goto(`${address}/check.mjs`);
        const told = await page.evaluate(async () => {
          const { loadModel } = await import("./pagelm/index.js");
          const load = (where) => loadModel("models/gpt2-basic-bytes.gguf", { where });
          const { code, message, advice } = await load("worker").catch((error) => error);
          return { code, message, advice, size: (await load("main")).info.fileSize };
        });
        assert.equal(told.code, "WORKER", told.message);
        assert.match(told.advice, /worker\.js/);
        assert.ok(told.message.length > 20 && told.size > 0);
      }, browser);
    }
  } finally {
    forbidden.close();
    missing.close();
  }
}

/** The browser itself refuses to store: the model runs from memory, and the page is told why. */
export async function refusedQuota({ dir, app }) {
  const server = await site([dir, app]);
  try {
    await withPage(async (page) => {
      await page.goto(`${server.address}/check.mjs`);
      const protocol = await page.createCDPSession();
      await protocol.send("Storage.overrideQuotaForOrigin", { origin: server.address, quotaSize: 1000 });
      const { text, download, parts } = await page.evaluate(async () => {
        const { loadModel } = await import("./pagelm/index.js");
        const model = await loadModel("models/gpt2-basic-lexicon.gguf", { cache: true });
        const { text } = await model.complete("The ", { maxTokens: 8 });
        const cache = await caches.open("pagelm-models");
        return { text, download: model.download, parts: (await cache.keys()).length };
      });
      assert.ok(text.length > 0, "no text");
      assert.deepEqual([download.from, download.stored, parts], ["network", false, 0]);
      assert.match(download.problem, /Quota/i);
    }, "chromium");
  } finally {
    server.close();
  }
}
