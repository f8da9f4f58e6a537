// `loadModel` in this thread of Node, whose own `fetch` reads no files: paths and file: addresses
// become streams here.
import { statSync } from "node:fs";
import { open } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { PagelmError } from "./advice.js";
import { loadHere as load } from "./load.js";
import { ENGINES, detectBuild } from "./pagelm.js";

const PIECE = 1 << 18;

export async function loadHere(source, options = {}) {
  const { build = detectBuild() } = options;
  const wasm = readable(options.wasm ?? ENGINES[build] ?? ENGINES.simd128, "application/wasm");
  return load(readable(source, "application/octet-stream"), { ...options, build, wasm });
}

// A file as a Response; anything else as it is.
function readable(source, type) {
  const url = typeof source === "string" ? urlOf(source) : source;
  if (!(url instanceof URL) || url.protocol !== "file:") return url;
  let size;
  try {
    size = statSync(url).size;
  } catch (cause) {
    throw new PagelmError("NETWORK", `${url}: ${cause.message}`, cause);
  }
  const headers = { "content-type": type, "content-length": size };
  const response = new Response(streamOf(url), { headers });
  // A Response made by hand has no address, and errors should name one.
  return Object.defineProperty(response, "url", { value: url.href });
}
// The file in pieces. (The adapter of node:stream fails after a cancel, in Node 20.)
function streamOf(url) {
  let file;
  return new ReadableStream({
    async pull(controller) {
      file ??= await open(url);
      const { bytesRead, buffer } = await file.read(new Uint8Array(PIECE), 0, PIECE);
      if (bytesRead) return controller.enqueue(buffer.subarray(0, bytesRead));
      controller.close();
      await file.close();
    },
    cancel: () => file?.close(),
  }, { highWaterMark: 0 });
}

// "C:\model.gguf" parses as a URL too, so only the schemes that can be fetched count as one.
function urlOf(text) {
  return /^(https?|file|data|blob):/.test(text) ? new URL(text) : pathToFileURL(resolve(text));
}
