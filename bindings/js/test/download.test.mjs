// Downloads that break, the cache, and the check of a hash.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { PagelmError, clearCache, loadModel } from "../node.js";
import { Sha256, wanted } from "../sha256.js";
import { BYTES, failure, fnv1a64, read, serve } from "./helpers.mjs";

const file = read(BYTES);
const hex = createHash("sha256").update(file).digest("hex");
const sri = `sha256-${createHash("sha256").update(file).digest("base64")}`;
const eighty = Math.floor(file.length * 0.8);
let server, asked, plan;

/** One file behind a server that does as `plan` says. */
function route(response, { method, headers: sent }) {
  const { range } = sent;
  asked.push(range ?? method);
  // Browsers and Node.js send it with requests that their own cache has no part in.
  plan.uncached = sent["cache-control"] === "no-cache";
  const how = plan.answers.shift() ?? plan;
  if (how.status) return response.writeHead(how.status).end();
  const bytes = how.file ?? plan.file ?? file;
  const headers = { "content-type": "application/octet-stream", ...how.headers };
  const from = range && !how.noRanges ? Number(/\d+/.exec(range)[0]) : 0;
  if (from) headers["content-range"] = `bytes ${from}-${bytes.length - 1}/${bytes.length}`;
  if (!how.noLength) headers["content-length"] = bytes.length - from;
  response.writeHead(from ? 206 : 200, headers);
  if (method === "HEAD") return response.end();
  if (how.until === undefined) return response.end(bytes.subarray(from));
  response.write(bytes.subarray(from, how.until), () => !how.stalls && setTimeout(() => response.destroy(), 20));
}

before(async () => (server = await serve({ "/model": route })));
after(() => server.close());
beforeEach(() => {
  asked = [];
  plan = { answers: [] };
});
const url = () => `${server.base}/model`;

async function right(model) {
  const { ids } = await model.complete("The ", { maxTokens: 64, temperature: 0.8, seed: 42 });
  assert.equal(fnv1a64(ids), "166b3f2a5d968e12");
  return model.download;
}

async function fails(promise, code, pattern) {
  const error = await failure(promise);
  assert.ok(error instanceof PagelmError, `${error?.stack}`);
  assert.equal(error.code, code, error.message);
  assert.match(error.message, pattern);
  assert.ok(error.message.startsWith(url()) || code === "BAD_PARAM", error.message);
  return error;
}

describe("a connection that is dropped", () => {
  test("at 80 % goes on by a range", async () => {
    plan.answers = [{ until: eighty }];
    const report = await right(await loadModel(url()));
    assert.deepEqual(asked, ["GET", `bytes=${eighty}-`]);
    assert.ok(!plan.uncached, "nothing else keeps it");
    assert.deepEqual(report, { from: "network", received: file.length, resumed: 1, stored: false, problem: null });
  });

  test("three times goes on three times; a piece that came begins the count anew", async () => {
    plan.answers = [40_000, 90_000, 90_000, 130_000, 170_000, 200_000].map((until) => ({ until }));
    assert.equal((await right(await loadModel(url()))).resumed, 6);
  });

  test("goes on where the server ignores ranges, and where it tells no length", async () => {
    plan.answers = [{ until: eighty }, { noRanges: true }];
    assert.equal((await right(await loadModel(url()))).received, file.length + eighty);
    plan.answers = [{ until: eighty, noLength: true }, { noLength: true }];
    await right(await loadModel(url()));
  });

  test("for good is an error that says how far it came", async () => {
    plan.until = eighty;
    const error = await fails(loadModel(url(), { retries: 1 }), "TRUNCATED", new RegExp(`${eighty} of \\d+ bytes`));
    assert.ok(error.cause);
    assert.equal(asked.length, 2);
    plan = { answers: [{ until: eighty }], status: 404 };
    await fails(loadModel(url()), "HTTP", /404/);
  });

  test("survives a server that is busy for a moment", async () => {
    plan.answers = [{ until: eighty }, { status: 503 }];
    assert.equal((await right(await loadModel(url()))).resumed, 2);
  });

  test("or that stalls is taken up, too", async () => {
    plan.answers = [{ until: eighty, stalls: true }];
    assert.equal((await right(await loadModel(url(), { stallMs: 400 }))).resumed, 1);
    assert.deepEqual(asked, ["GET", `bytes=${eighty}-`]);
  });

  test("is no reason to join two versions of a file", async () => {
    plan.answers = [{ until: eighty, headers: { etag: '"a"' } }, { headers: { etag: '"b"' } }];
    await fails(loadModel(url()), "CHANGED", /changed on the server/);
    plan.answers = [{ until: eighty }, { file: Buffer.concat([file, file]) }];
    await fails(loadModel(url()), "CHANGED", /changed on the server/);
    plan.answers = [{ until: eighty, headers: { etag: 'W/"a-gzip"' } }, { headers: { etag: '"a"' } }];
    await right(await loadModel(url()));
  });

  test("ends when the signal says so, also between attempts", async () => {
    const stop = new AbortController(), reason = new Error("enough");
    plan.until = eighty;
    setTimeout(() => stop.abort(reason), 300);
    await assert.rejects(loadModel(url(), { signal: stop.signal, retries: 50 }), reason);
  });

  test("before the first byte is an error at once", async () => {
    await fails(loadModel(url().replace("model", "no")), "HTTP", /404/).catch((error) => assert.match(error.message, /no: status 404/));
    const error = await failure(loadModel("http://127.0.0.1:1/m.gguf"));
    assert.equal(error.code, "NETWORK");
  });
});

describe("the hash", () => {
  test("is that of FIPS 180-4, whatever the pieces", () => {
    for (const length of [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000]) {
      const bytes = file.subarray(0, length), sum = new Sha256();
      for (let at = 0, n = 1; at < length; at += n, n = (n * 7) % 131) sum.update(bytes.subarray(at, Math.min(length, at + n)));
      assert.equal(Buffer.from(sum.digest()).toString("hex"), createHash("sha256").update(bytes).digest("hex"), `${length} bytes`);
    }
    assert.equal(wanted(sri), hex);
  });

  test("that is right lets a model pass, from everywhere", async () => {
    for (const source of [url(), BYTES, file, new Blob([file]), new Response(file)]) {
      await right(await loadModel(source, { integrity: sri }));
      await right(await loadModel(source instanceof Response ? new Response(file) : source, { integrity: hex.toUpperCase() }));
    }
  });

  test("that is wrong lets none pass", async () => {
    const wrong = hex.replace(/^./, (c) => (c === "0" ? "1" : "0"));
    const error = await fails(loadModel(url(), { integrity: wrong }), "INTEGRITY", new RegExp(`${hex}, not ${wrong}`));
    assert.match(error.advice, /not the one/);
    for (const source of [BYTES, file, new Blob([file]), new Response(file)]) {
      assert.equal((await failure(loadModel(source, { integrity: wrong }))).code, "INTEGRITY");
    }
    assert.equal((await failure(loadModel(new Response(null), { integrity: wrong }))).code, "TRUNCATED");
    // A file with something behind the model, which the engine itself would not read.
    plan.file = Buffer.concat([file, Buffer.from("tail")]);
    await fails(loadModel(url(), { integrity: hex }), "INTEGRITY", /SHA-256/);
  });

  test("that is none is refused before anything is loaded", async () => {
    for (const text of ["sha384-abc", "abc", "", 7]) await fails(loadModel(url(), { integrity: text }), "BAD_PARAM", /integrity/);
    assert.deepEqual(asked, []);
  });

  test("holds over a break and in a worker", async () => {
    plan.answers = [{ until: eighty }];
    await right(await loadModel(url(), { integrity: sri }));
    plan.answers = [{ until: eighty }];
    const model = await loadModel(url(), { integrity: sri, where: "worker" });
    assert.equal((await right(model)).resumed, 1);
    model.dispose();
    await fails(loadModel(url(), { integrity: "0".repeat(64), where: "worker" }), "INTEGRITY", /SHA-256/);
  });
});

/** The Cache API as far as it is used, with a quota. */
class FakeCaches {
  stores = new Map();
  quota = Infinity;
  async open(name) {
    if (!this.stores.has(name)) this.stores.set(name, new Map());
    const store = this.stores.get(name);
    return {
      match: async (key) => (store.has(key) ? new Response(store.get(key).bytes, { headers: store.get(key).headers }) : undefined),
      put: async (key, response) => {
        const bytes = new Uint8Array(await response.arrayBuffer());
        const used = [...store.values()].reduce((sum, it) => sum + it.bytes.length, 0);
        if (used + bytes.length > this.quota) throw new DOMException("the quota is used up", "QuotaExceededError");
        store.set(key, { bytes, headers: [...response.headers] });
      },
      keys: async () => [...store.keys()].map((url) => ({ url })),
      delete: async (key) => store.delete(key),
    };
  }
  delete = async (name) => this.stores.delete(name);
  get parts() {
    return [...(this.stores.get("pagelm-models") ?? [])];
  }
}

describe("the cache", () => {
  const cache = true;
  beforeEach(() => (globalThis.caches = new FakeCaches()));
  afterEach(() => delete globalThis.caches);

  test("keeps a model for the next visit", async () => {
    const first = await right(await loadModel(url(), { cache }));
    assert.deepEqual(first, { from: "network", received: file.length, resumed: 0, stored: true, problem: null });
    assert.ok(plan.uncached, "it is kept once, not in the browser's cache, too");
    asked = [];
    const second = await right(await loadModel(url(), { cache }));
    assert.deepEqual(second, { from: "cache", received: 0, resumed: 0, stored: true, problem: null });
    assert.deepEqual(asked, ["HEAD"]);
    await right(await loadModel(url(), { cache, integrity: sri }));
    assert.deepEqual(asked, ["HEAD"], "a file known by its hash needs no question");
  });

  test("serves a model while there is no network", async () => {
    await loadModel(url(), { cache });
    plan = { answers: [], status: 503 };
    assert.equal((await right(await loadModel(url(), { cache }))).from, "cache");
  });

  test("takes a new version from the server", async () => {
    plan.headers = { etag: '"1"' };
    await loadModel(url(), { cache });
    plan.headers = { etag: '"2"' };
    assert.equal((await right(await loadModel(url(), { cache }))).from, "network");
    assert.equal((await right(await loadModel(url(), { cache }))).from, "cache");
  });

  test("goes on where a download ended, on the next visit", async () => {
    plan.until = eighty;
    await fails(loadModel(url(), { cache, retries: 0 }), "TRUNCATED", /bytes/);
    plan = { answers: [] };
    asked = [];
    const report = await right(await loadModel(url(), { cache }));
    assert.deepEqual(asked, [`bytes=${eighty}-`]);
    assert.deepEqual(report, { from: "both", received: file.length - eighty, resumed: 0, stored: true, problem: null });
    assert.equal((await right(await loadModel(url(), { cache, integrity: sri }))).from, "cache");
  });

  test("goes on after an abort, too", async () => {
    const stop = new AbortController();
    plan.answers = [{ until: eighty }];
    await failure(loadModel(url(), { cache, signal: stop.signal, onProgress: ({ loaded }) => loaded >= eighty && stop.abort() }));
    for (const end = Date.now() + 5000; !globalThis.caches.parts.length && Date.now() < end; ) await new Promise((go) => setTimeout(go, 10));
    assert.equal((await right(await loadModel(url(), { cache }))).from, "both");
  });

  test("does not join a part with a new version", async () => {
    plan.answers = [{ until: eighty, headers: { etag: '"1"' } }];
    await failure(loadModel(url(), { cache, retries: 0 }));
    plan.headers = { etag: '"2"' };
    assert.equal((await right(await loadModel(url(), { cache, integrity: sri }))).from, "network");
  });

  test("that refuses for its quota leaves the model in memory", async () => {
    globalThis.caches.quota = 1000;
    const report = await right(await loadModel(url(), { cache }));
    assert.equal(report.stored, false);
    assert.match(report.problem, /QuotaExceededError: the quota is used up/);
    assert.deepEqual(globalThis.caches.parts, []);
  });

  test("that is damaged is replaced from the server", async () => {
    await loadModel(url(), { cache });
    const [[, part]] = globalThis.caches.parts;
    part.bytes[0] ^= 1;
    assert.equal((await right(await loadModel(url(), { cache }))).from, "network");
    globalThis.caches.parts[0][1].bytes[file.length - 100] ^= 1; // a weight: only the hash can tell
    assert.equal((await right(await loadModel(url(), { cache, integrity: sri }))).from, "network");
    assert.equal((await right(await loadModel(url(), { cache, integrity: sri }))).from, "cache");
  });

  test("that loses a part goes on from the network", async () => {
    await loadModel(url(), { cache });
    const [[, part]] = globalThis.caches.parts;
    part.bytes = part.bytes.slice(0, 100_000);
    asked = [];
    const report = await right(await loadModel(url(), { cache, integrity: sri }));
    assert.deepEqual(asked, ["bytes=100000-"]);
    assert.deepEqual([report.from, report.stored, report.received], ["both", false, file.length - 100_000]);
    assert.match(report.problem, /dropped a part/);
    assert.equal((await right(await loadModel(url(), { cache }))).stored, true);
  });

  test("keeps a good file whatever else goes wrong", async () => {
    await loadModel(url(), { cache });
    asked = [];
    await fails(loadModel(url(), { cache, integrity: sri, contextLength: 10 ** 6 }), "BAD_PARAM", /n_ctx/);
    await fails(loadModel(url(), { cache, integrity: sri, onProgress: () => { throw new Error("mine"); } }), "ON_PROGRESS", /mine/);
    assert.equal((await right(await loadModel(url(), { cache, integrity: sri }))).from, "cache");
    assert.deepEqual(asked, []);
  });

  test("does not keep what has the wrong hash", async () => {
    await fails(loadModel(url(), { cache, integrity: "0".repeat(64) }), "INTEGRITY", /SHA-256/);
    assert.deepEqual(globalThis.caches.parts, []);
  });

  test("forgets one model or all", async () => {
    await loadModel(url(), { cache });
    await clearCache("http://127.0.0.1/other");
    assert.ok(globalThis.caches.parts.length > 0);
    await clearCache(url());
    assert.deepEqual(globalThis.caches.parts, []);
    await loadModel(url(), { cache });
    await clearCache();
    assert.equal(globalThis.caches.stores.size, 0);
  });

  test("that is missing leaves the model in memory", async () => {
    delete globalThis.caches;
    assert.match((await right(await loadModel(url(), { cache }))).problem, /Cache API/);
  });
});
