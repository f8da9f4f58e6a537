// What the tests share: the files, a server that misbehaves on request, a hash.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

const root = new URL("../../../", import.meta.url);
export const WASM = {
  relaxed: new URL("../pagelm-relaxed.wasm", import.meta.url),
  simd128: new URL("../pagelm.wasm", import.meta.url),
  scalar: new URL("../pagelm-scalar.wasm", import.meta.url),
};
export const LEXICON = new URL("examples/models/gpt2-basic-lexicon.gguf", root);
export const BYTES = new URL("examples/models/gpt2-basic-bytes.gguf", root);
export const NAMES = new URL("examples/models/names.gguf", root);
export const SORT = new URL("examples/models/gpt-nano-sort.gguf", root);

export { allowRelaxed } from "../../../tools/web/relaxed.mjs";

/** A file's bytes, alone in their buffer. */
export const read = (url) => Uint8Array.from(readFileSync(fileURLToPath(url)));

/** FNV-1a, 64 bits, over the ids as little-endian u32. */
export function fnv1a64(ids) {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new Uint8Array(Uint32Array.from(ids).buffer)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return hash.toString(16).padStart(16, "0");
}

/** The ids of a stream. */
export async function collect(stream) {
  const all = [];
  for await (const it of stream) all.push(it);
  return all;
}

/**
 * Serves what `routes` holds for a path: `(response, request) => void`. Gives the
 * base address and a way to end.
 */
export async function serve(routes) {
  const server = createServer((request, response) => {
    const route = routes[request.url];
    if (route) return route(response, request);
    response.writeHead(404, { "content-type": "text/html" }).end("<!doctype html><title>no</title>");
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { base: `http://127.0.0.1:${server.address().port}`, close };
}

/** A route that sends bytes whole, with these headers. */
export const send = (bytes, headers = {}, status = 200) => (response) =>
  response.writeHead(status, { "content-type": "application/octet-stream", ...headers }).end(bytes);

/** A route that sends bytes in pieces without saying how many there will be. */
export const dribble = (bytes, size, end = (response) => response.end()) => async (response) => {
  response.writeHead(200, { "content-type": "application/octet-stream" });
  for (let at = 0; at < bytes.length; at += size) {
    if (!response.write(bytes.subarray(at, at + size))) await new Promise((go) => response.once("drain", go));
  }
  end(response);
};

/** What a promise rejects with. */
export const failure = (promise) => promise.then(() => { throw new Error("it did not fail"); }, (error) => error);
