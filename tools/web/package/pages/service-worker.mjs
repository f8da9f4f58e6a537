// A service worker that answers /write itself, with the cache for its models.
import { clearCache, loadModel } from "./pagelm/index.js";
import { check } from "./check.mjs";

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  if (new URL(event.request.url).pathname.endsWith("/write")) event.respondWith(write());
});

async function write() {
  try {
    const models = new URL("models/", location.href), sources = [];
    const load = async (...args) => {
      const model = await loadModel(...args);
      sources.push(model.download.from);
      return model;
    };
    await clearCache();
    await check(load, models, { cache: true });
    const result = await check(load, models, { cache: true });
    const worker = await loadModel("models/none.gguf", { where: "worker" }).catch((error) => error.code);
    return Response.json({ ...result, sources, worker });
  } catch (error) {
    return Response.json({ error: String(error.stack) });
  }
}
