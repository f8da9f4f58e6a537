// The whole entry in Node.js: index.js with file paths, and worker threads for workers. A page never
// loads this file.
import { Worker } from "node:worker_threads";
import { PagelmError } from "./advice.js";
import { clearCache } from "./cache.js";
import { loadHere } from "./node-load.js";
import { ENGINES, detectBuild } from "./pagelm.js";
import { loadRemote } from "./remote.js";

export { ENGINES, PagelmError, clearCache, detectBuild };

export async function loadModel(source, options = {}) {
  const { where = "main", wasm } = options;
  if (where === "main") return loadHere(source, options);
  if (where !== "worker") throw new PagelmError("BAD_PARAM", `where is "${where}": it must be "main" or "worker"`);
  // Node 20 sends a Blob to a thread, but not a File.
  const full = (place) => (place instanceof URL ? place.href : place instanceof Blob ? new Blob([place]) : place);
  return loadRemote(thread(), full(source), { ...options, wasm: full(wasm) });
}

/** A worker thread with the browser's way of listening. */
function thread() {
  const worker = new Worker(new URL("./node-worker.js", import.meta.url));
  return Object.assign(worker, {
    addEventListener(type, heard) {
      worker.on(type, (it) => heard(type === "message" ? { data: it } : { message: it?.message, error: it }));
    },
  });
}
