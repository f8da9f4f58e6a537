// The bundlers, each with the least that it needs to be told.
import { cpSync, readdirSync } from "node:fs";
import { join } from "node:path";

import * as esbuild from "esbuild";
import { build, createServer } from "vite";
import webpack from "webpack";

/** Builds the page of `dir`; gives the folder to serve. */
export async function bundle(name, dir) {
  const out = join(dir, "dist");
  await { vite, webpack: byWebpack, esbuild: byEsbuild }[name](dir, out);
  return out;
}

async function vite(dir, out) {
  await build({ root: dir, configFile: false, logLevel: "warn", build: { outDir: out } });
}

/** Vite's development server, as `npx vite` starts it. */
export async function viteServer(dir) {
  const server = await createServer({ root: dir, configFile: false, logLevel: "warn", server: { host: "127.0.0.1", port: 0 } });
  await server.listen();
  return { address: server.resolvedUrls.local[0], close: () => server.close() };
}

async function byWebpack(dir, out) {
  const stats = await new Promise((done, failed) => {
    webpack({ mode: "production", context: dir, entry: "./main.mjs", output: { path: out, filename: "main.mjs" } }, (error, stats) => (error ? failed(error) : done(stats)));
  });
  if (stats.hasErrors() || stats.hasWarnings()) throw new Error(stats.toString());
  cpSync(join(dir, "index.html"), join(out, "index.html"));
}

/** esbuild leaves `new URL("file", import.meta.url)` as it is: the worker is a second entry, the engines are copied. */
async function byEsbuild(dir, out) {
  const common = { absWorkingDir: dir, bundle: true, minify: true, format: "esm", outdir: out, logLevel: "warning" };
  await esbuild.build({ ...common, entryPoints: { main: "./main.mjs", worker: "pagelm/worker" }, outExtension: { ".js": ".js" } });
  const folder = join(dir, "../node_modules/pagelm");
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".wasm"))) cpSync(join(folder, file), join(out, file));
  cpSync(join(out, "main.js"), join(out, "main.mjs"));
  cpSync(join(dir, "index.html"), join(out, "index.html"));
}
