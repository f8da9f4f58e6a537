// A static server for the pages of the package step: right types, ranges, a policy if asked for.
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css",
  ".json": "application/json", ".wasm": "application/wasm", ".gguf": "application/octet-stream",
};

/**
 * Serves `folders`, the first that has a file wins. `drop` tells of which paths the first connection is
 * dropped, and after what share of the file; `missing` is not found. Gives the address and a way to end.
 */
export async function site(folders, headers = {}, drop = {}, missing = []) {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://here").pathname));
    const found = folders.map((folder) => join(folder, path.endsWith("/") ? `${path}index.html` : path)).find((file) => existsSync(file) && statSync(file).isFile());
    if (!found || missing.includes(path)) return response.writeHead(404, { "content-type": "text/html" }).end("<!doctype html><title>no such file</title>");
    const { size } = statSync(found), from = Number(/^bytes=(\d+)-$/.exec(request.headers.range)?.[1] ?? 0);
    const all = { "content-type": TYPES[extname(found)] ?? "application/octet-stream", "content-length": size - from, "accept-ranges": "bytes", ...headers };
    if (from) all["content-range"] = `bytes ${from}-${size - 1}/${size}`;
    response.writeHead(from ? 206 : 200, all);
    if (request.method === "HEAD") response.end();
    else if (path in drop) {
      createReadStream(found, { end: Math.floor(size * drop[path]) }).on("end", () => setTimeout(() => response.destroy(), 100)).pipe(response, { end: false });
      delete drop[path];
    }
    else createReadStream(found, { start: from }).pipe(response);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const close = () => (server.closeAllConnections(), server.close());
  return { address: `http://127.0.0.1:${server.address().port}`, close };
}
