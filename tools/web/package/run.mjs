// node run.mjs FOLDER [PLACE...]
//
// Packs bindings/js, installs the tarball in FOLDER, builds pages from it, and runs each where a user
// would. Prints one line of JSON for each check: {"name", "error"}. PLACE picks among the places, -PLACE
// leaves one out.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { bundle, viteServer } from "./bundle.mjs";
import { inChromium, inFirefox, inWebKit, withExtension } from "./browsers.mjs";
import { useElement } from "./element.mjs";
import { site } from "./site.mjs";
import { checkSizes } from "./sizes.mjs";
import { noWorker, refusedQuota, strictPolicy } from "./special.mjs";

const WANT = { greedy: "0f452fa7a70c3f84", sampled: "166b3f2a5d968e12" };
const here = dirname(fileURLToPath(import.meta.url)), root = join(here, "../../..");
const [folder, ...chosen] = process.argv.slice(2);
const unwanted = new Set(chosen.filter((it) => it.startsWith("-")).map((it) => it.slice(1)));
const wanted = new Set(chosen.filter((it) => !it.startsWith("-")));
const app = join(folder, "app"), shots = join(folder, "screenshots");
const pages = join(here, "pages");

/** The hashes in an answer are those of every other host. */
function same(result) {
  assert.equal(result?.error, undefined, result?.error);
  for (const part of [result, result.core, result.worker, result.background]) {
    if (part && typeof part === "object") assert.deepEqual({ greedy: part.greedy, sampled: part.sampled }, WANT);
  }
  return result;
}

function npm(args, cwd) {
  return execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
}

/** The tarball, installed as a user would; all in FOLDER. */
function install() {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(app, "models"), { recursive: true });
  mkdirSync(shots, { recursive: true });
  const said = npm(["pack", "--json", "--pack-destination", folder], join(root, "bindings/js"));
  const [{ filename, files }] = JSON.parse(said.slice(said.indexOf("["))); // npm may name its scripts first
  const names = files.map(({ path }) => path);
  const { exports } = JSON.parse(readFileSync(join(root, "bindings/js/package.json")));
  const exported = Object.values(exports).flatMap((it) => (typeof it === "string" ? it : Object.values(it))).map((it) => it.slice(2));
  for (const name of ["LICENSE-MIT", "LICENSE-APACHE", "README.md", ...exported]) {
    assert.ok(names.includes(name), `the tarball lacks ${name}; \`cargo xtask wasm\` makes the .wasm files`);
  }
  assert.deepEqual(names.filter((name) => /test|tsconfig/.test(name)), []);
  writeFileSync(join(app, "package.json"), JSON.stringify({ private: true, type: "module", dependencies: { pagelm: `file:../${filename}` } }));
  npm(["install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts"], app);
  const models = join(root, "examples/models");
  for (const name of ["gpt2-basic-lexicon.gguf", "gpt2-basic-bytes.gguf"]) cpSync(join(models, name), join(app, "models", name));
  return `${names.length} files, ${statSync(join(folder, filename)).size} bytes`;
}

/** A folder with some pages in it, and the package's files or the bundles below it. */
function page(name, files, { unbundled = false, script } = {}) {
  const to = join(app, name);
  mkdirSync(to, { recursive: true });
  for (const file of ["check.mjs", ...files]) cpSync(join(pages, file), join(to, file), { recursive: true });
  if (unbundled) cpSync(join(app, "node_modules/pagelm"), join(to, "pagelm"), { recursive: true });
  if (script) cpSync(join(pages, script), join(to, "main.mjs"));
  return to;
}

async function visited(dir, browse, path = "/", headers, drop) {
  const server = await site([dir, app], headers, drop);
  try {
    return same(await browse(`${server.address}${path}`));
  } finally {
    server.close();
  }
}

const shot = (name) => join(shots, `${name}.png`);
let made;
const plain = () => (made ??= page("plain", ["index.html"], { unbundled: true, script: "plain.mjs" }));

/** What the plain page tells beside its hashes. */
function whole({ element, stored }) {
  assert.equal(element, true, "the element wrote another text");
  assert.deepEqual(stored, ["network", "cache"]);
}

async function bundled(name) {
  const dir = page(name, ["index.html"], { script: "bundled.mjs" });
  const result = await visited(await bundle(name, dir), (address) => inChromium(address, shot(name)));
  assert.equal(result.element, "function");
}

const PLACES = {
  "node: Node.js, the installed package": () => same(JSON.parse(execFileSync("node", [join(page("node", ["node.mjs"]), "node.mjs")], { cwd: app, encoding: "utf8" }))),
  "plain: a page without a bundler, in Chromium": async () => whole(await visited(plain(), (address) => inChromium(address, shot("plain-chromium")))),
  "plain: the page in Firefox": async () => whole(await visited(plain(), (address) => inFirefox(address, shot("plain-firefox")))),
  "resume: a connection that is dropped at 80 %, in Chromium and Firefox": async () => {
    for (const browse of [inChromium, inFirefox]) {
      const drop = { "/models/gpt2-basic-lexicon.gguf": 0.8, "/models/gpt2-basic-bytes.gguf": 0.8 };
      const { resumed } = await visited(page("resume", ["index.html"], { unbundled: true, script: "resume.mjs" }), browse, "/", {}, drop);
      assert.deepEqual(resumed, [1, 1]);
    }
  },
  "webkit: the page in WebKitGTK, which has no relaxed SIMD and no SharedArrayBuffer": async () => {
    const result = await visited(plain(), (address) => inWebKit(address, shot("plain-webkit")));
    assert.deepEqual([result.build, result.shared], ["simd128", "undefined"]);
    whole(result);
  },
  "policy: the page under a strict policy, in Chromium and Firefox": () => strictPolicy({ dir: plain(), app, visited }),
  "module-worker: a module worker of the page's own, in Chromium and Firefox": async () => {
    const dir = page("module-worker", ["index.html", "module-worker.mjs"], { unbundled: true, script: "module-worker-page.mjs" });
    for (const browse of [inChromium, inFirefox]) await visited(dir, (address) => browse(address));
  },
  "service-worker: a service worker, with its models in the cache, in Chromium and Firefox": async () => {
    const dir = page("service-worker", ["index.html", "service-worker.mjs"], { unbundled: true, script: "service-worker-page.mjs" });
    for (const browse of [inChromium, inFirefox]) {
      const { sources, worker } = await visited(dir, (address) => browse(address));
      assert.deepEqual([sources, worker], [["network", "network", "cache", "cache"], "WORKER"]);
    }
  },
  "extension: a Manifest V3 extension in Chromium, its page and its service worker": async () => {
    const dir = page("extension", [], { unbundled: true });
    cpSync(join(pages, "extension"), dir, { recursive: true });
    cpSync(join(app, "models"), join(dir, "models"), { recursive: true });
    same(await withExtension(dir, shot("extension")));
  },
  "vite: a page built by Vite": () => bundled("vite"),
  "vite-dev: the page from Vite's development server": async () => {
    const dir = page("vite-dev", ["index.html"], { script: "bundled.mjs" });
    cpSync(join(app, "models"), join(dir, "models"), { recursive: true });
    const server = await viteServer(dir);
    try {
      same(await inChromium(server.address));
    } finally {
      await server.close();
    }
  },
  "webpack: a page built by webpack": () => bundled("webpack"),
  "esbuild: a page built by esbuild": () => bundled("esbuild"),
  "no-worker: a worker that is forbidden or missing, in Chromium and Firefox": () => noWorker({ dir: plain(), app }),
  "quota: a cache whose quota is refused, in Chromium": () => refusedQuota({ dir: plain(), app }),
  "sizes: docs/SIZES.md tells what a page downloads of the package": checkSizes,
  "element: <pagelm-text>, used as a visitor would": () => useElement({ dir: page("element", ["element.html", "element-worker.html", "element.css"], { unbundled: true }), app, shot }),
};

async function report(name, work) {
  const error = await Promise.resolve().then(work).then(() => null, (error) => error);
  process.stdout.write(`${JSON.stringify({ name, error: error && String(error.stack ?? error) })}\n`);
  return !error;
}

/** Two at a time: a browser waits more than it works. */
async function all() {
  const left = Object.entries(PLACES).filter(([name]) => {
    const place = name.split(":")[0];
    return !unwanted.has(place) && (!wanted.size || wanted.has(place));
  });
  const take = async () => {
    for (let next; (next = left.shift()); ) await report(...next);
  };
  await Promise.all([take(), take()]);
}

if (await report("the tarball holds what a user needs, and installs without a network", install)) await all();
