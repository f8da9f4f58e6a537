// Serves the repository and the model files to the pages on 127.0.0.1, isolated so that clocks are fine-grained.
import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".mjs": "text/javascript", ".json": "application/json",
  ".wasm": "application/wasm",
};
const HEADERS = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
  "accept-ranges": "bytes",
  // No page comes again: to write 137 MB to its disk cache takes Chromium 0.7 s, whatever the engine.
  "cache-control": "no-store",
};

/** `folders` maps the beginnings of addresses to folders, the longest first. */
export function serve(folders) {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const [prefix, folder] = folders.find(([prefix]) => path.startsWith(prefix)) ?? [];
    const file = prefix && join(folder, normalize(`/${path.slice(prefix.length)}`));
    const size = file && statSync(file, { throwIfNoEntry: false });
    if (!size?.isFile()) return response.writeHead(404, HEADERS).end();
    const headers = { ...HEADERS, "content-type": TYPES[extname(file)] ?? "application/octet-stream" };
    const range = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? "");
    const start = range ? +range[1] : 0;
    const end = range?.[2] ? +range[2] : size.size - 1;
    if (range) headers["content-range"] = `bytes ${start}-${end}/${size.size}`;
    response.writeHead(range ? 206 : 200, { ...headers, "content-length": end - start + 1 });
    if (request.method === "HEAD") return response.end();
    createReadStream(file, { start, end, highWaterMark: 1 << 20 }).pipe(response);
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const close = () => {
        server.closeAllConnections();
        server.close();
      };
      resolve({ address: `http://127.0.0.1:${server.address().port}`, close });
    });
  });
}
