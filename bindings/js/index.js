// The whole entry: `loadModel` here or in a worker, downloads that go on, cache, hash, advice.
// pagelm.js alone is the same without them.
import { PagelmError } from "./advice.js";
import { clearCache } from "./cache.js";
import { absolute, loadHere } from "./load.js";
import { ENGINES, detectBuild } from "./pagelm.js";
import { loadRemote } from "./remote.js";

export { ENGINES, PagelmError, clearCache, detectBuild };

export async function loadModel(source, options = {}) {
  const { where = "main", wasm } = options;
  if (where === "main") return loadHere(source, options);
  const full = (place) => (typeof place === "string" || place instanceof URL ? absolute(place) : place);
  return loadRemote(workerOf(where), full(source), { ...options, wasm: full(wasm) });
}

function workerOf(where) {
  if (where?.postMessage) return where;
  if (where !== "worker") throw new PagelmError("BAD_PARAM", `where is "${where}": it must be "main", "worker" or a Worker`);
  if (!globalThis.Worker) throw new PagelmError("WORKER", "there are no workers here, as in a service worker");
  try {
    return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "pagelm" });
  } catch (cause) {
    throw new PagelmError("WORKER", cause.message, cause);
  }
}
