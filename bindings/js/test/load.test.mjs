// Loading: every source, every wrong answer of a server, progress and abort.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { PagelmError, detectBuild, loadModel } from "../node.js";
import { loadModel as loadInPage } from "../pagelm.js";
import { BYTES, LEXICON, WASM, collect, dribble, failure, read, send, serve } from "./helpers.mjs";

const model = read(BYTES);
const wasm = read(WASM.simd128);
const whole = await words(await loadModel(BYTES));
let server;

async function words(model) {
  const { text } = await model.complete("The model ", { maxTokens: 24 });
  model.dispose();
  assert.equal(text.length, 24);
  return text;
}

async function fails(promise, code, pattern) {
  const error = await failure(promise);
  assert.ok(error instanceof PagelmError, `${error?.stack}`);
  assert.equal(error.code, code, error.message);
  assert.match(error.message, pattern);
  return error;
}

const wasmHeaders = { "content-type": "application/wasm" };
const page = "<!doctype html><title>app</title>";

before(async () => {
  server = await serve({
    "/model": send(model, { "content-length": model.length }),
    "/dribble": dribble(model, 1000),
    "/long": send(Buffer.concat([model, Buffer.alloc(5000, 7)])),
    "/short": dribble(model.subarray(0, Math.floor(model.length * 0.8)), 20000),
    "/dropped": (response) => {
      response.writeHead(200, { "content-length": model.length });
      response.write(model.subarray(0, Math.floor(model.length * 0.8)), () => response.destroy());
    },
    "/header-only": send(model.subarray(0, 900)),
    "/stalled": (response) => response.writeHead(200, { "content-length": model.length }).write(model.subarray(0, 60000)),
    "/page": send(page, { "content-type": "text/html; charset=utf-8" }),
    "/page-as-wasm": send(page, wasmHeaders),
    "/engine.wasm": send(wasm, wasmHeaders),
    "/engine-as-text": send(wasm, { "content-type": "text/plain" }),
    "/engine-untyped": (response) => response.writeHead(200).end(wasm),
  });
});
after(() => server.close());

describe("a model comes from", () => {
  const sources = {
    "a path": () => BYTES.pathname,
    "a file: URL": () => BYTES,
    "a file: URL as a string": () => BYTES.href,
    "an http: URL as a string": () => `${server.base}/model`,
    "an http: URL": () => new URL(`${server.base}/model`),
    "a server that tells no length": () => `${server.base}/dribble`,
    "a file with something behind it": () => `${server.base}/long`,
    "a Response": () => fetch(`${server.base}/model`),
    "a Blob": () => new Blob([model]),
    "a File": () => new File([model], "chosen.gguf"),
    "an ArrayBuffer": () => model.buffer,
    "a view into a larger buffer": () => {
      const larger = new Uint8Array(model.length + 99);
      larger.set(model, 33);
      return larger.subarray(33, 33 + model.length);
    },
  };
  for (const [name, source] of Object.entries(sources)) {
    test(name, async () => assert.equal(await words(await loadModel(await source())), whole));
  }
});

describe("the engine comes from", () => {
  const engines = {
    "a path": () => WASM.simd128.pathname,
    "a URL": () => new URL(`${server.base}/engine.wasm`),
    "a Response": () => fetch(`${server.base}/engine.wasm`),
    "a Module": () => new WebAssembly.Module(wasm),
    bytes: () => wasm,
    "an ArrayBuffer": () => wasm.buffer,
    "the scalar build's default place": () => undefined,
  };
  for (const [name, engine] of Object.entries(engines)) {
    test(name, async () => {
      const build = name.includes("scalar") ? "scalar" : undefined;
      assert.equal(await words(await loadModel(BYTES, { wasm: await engine(), build })), whole);
    });
  }

  test("a server that sends the wrong type, with one warning", async (t) => {
    const warn = t.mock.method(console, "warn", () => {});
    for (const path of ["/engine-as-text", "/engine-untyped"]) {
      assert.equal(await words(await loadModel(BYTES, { wasm: server.base + path })), whole);
    }
    assert.equal(warn.mock.callCount(), 1);
    assert.match(warn.mock.calls[0].arguments[0], /engine-as-text: application\/wasm/);
  });

  test("instantiateStreaming where the type is right", async (t) => {
    const streaming = t.mock.method(WebAssembly, "instantiateStreaming");
    await words(await loadModel(BYTES, { wasm: `${server.base}/engine.wasm` }));
    await words(await loadModel(BYTES));
    assert.equal(streaming.mock.callCount(), 2);
  });
});

describe("what came was not the engine", () => {
  const cases = {
    "a page": ["/page", "HTML", /web page.*address/],
    "a page with the engine's type": ["/page-as-wasm", "WASM", /magic/],
    "404": ["/nothing", "HTTP", /404/],
    "a model": ["/model", "WASM", /magic/],
  };
  for (const [name, [path, code, pattern]] of Object.entries(cases)) {
    test(name, async (t) => {
      t.mock.method(console, "warn", () => {});
      const error = await fails(loadModel(BYTES, { wasm: server.base + path }), code, pattern);
      assert.ok(error.message.includes(server.base + path), error.message);
    });
  }
  test("no server", () => fails(loadModel(BYTES, { wasm: "http://127.0.0.1:1/pagelm.wasm" }), "WASM", /127\.0\.0\.1:1.*fetch/));
  test("no file", () => fails(loadModel(BYTES, { wasm: "no/such.wasm" }), "NETWORK", /no\/such\.wasm/));
});

describe("what came was not the model", () => {
  const eighty = Math.floor(model.length * 0.8);
  const cases = {
    "a connection that was lost at 80 %": ["/dropped", "TRUNCATED", new RegExp(`\\d+ of \\d+ bytes`)],
    "an answer that ended at 80 %": ["/short", "TRUNCATED", new RegExp(`${eighty} of \\d+ bytes`)],
    "less than the header": ["/header-only", "TRUNCATED", /900 of \? bytes/],
    "a page": ["/page", "HTML", /web page.*address/],
    "404": ["/nothing", "HTTP", /404/],
    "the engine": ["/engine.wasm", "BAD_MAGIC", /GGUF/],
  };
  for (const [name, [path, code, pattern]] of Object.entries(cases)) {
    test(name, async () => {
      const error = await fails(loadModel(server.base + path), code, pattern);
      assert.ok(error.message.startsWith(server.base + path), error.message);
    });
  }
  test("a lost connection keeps its cause", async () => {
    const error = await failure(loadModel(`${server.base}/dropped`));
    assert.ok(error.cause instanceof Error);
  });
  test("nothing at all", () => fails(loadModel(new Blob([])), "TRUNCATED", /0 of/));
  test("no server", () => fails(loadModel("http://127.0.0.1:1/m.gguf"), "NETWORK", /127\.0\.0\.1:1/));
  test("no file", () => fails(loadModel("no/such.gguf"), "NETWORK", /no\/such\.gguf.*ENOENT/));
});

describe("progress", () => {
  test("rises to the file's size and ends with ready", async () => {
    const seen = [];
    const loaded = await loadModel(`${server.base}/dribble`, { onProgress: (it) => seen.push(it) });
    const { fileSize } = loaded.info;
    assert.ok(seen.length > 3, `${seen.length} reports`);
    assert.ok(seen.every((it, i) => i === 0 || it.loaded >= seen[i - 1].loaded));
    assert.deepEqual(seen.map((it) => it.phase).filter((phase) => phase === "ready"), ["ready"]);
    assert.equal(seen.at(-1).phase, "ready");
    assert.equal(seen.at(-1).total, fileSize);
    assert.ok(seen.at(-1).loaded >= fileSize);
  });

  test("an error in the callback ends the loading", async () => {
    const mistake = new Error("my mistake");
    const error = await fails(loadModel(BYTES, { onProgress: () => { throw mistake; } }), "ON_PROGRESS", /my mistake/);
    assert.equal(error.cause, mistake);
  });
});

describe("abort", () => {
  const reason = new Error("changed my mind");

  test("before the start", () => assert.rejects(loadModel(BYTES, { signal: AbortSignal.abort(reason) }), reason));

  test("while the model stalls", async () => {
    const stop = new AbortController();
    const loading = loadModel(`${server.base}/stalled`, { signal: stop.signal, onProgress: () => stop.abort(reason) });
    await assert.rejects(loading, reason);
  });

  test("while the engine stalls", async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(reason), 50);
    await assert.rejects(loadModel(BYTES, { wasm: `${server.base}/stalled`, signal: stop.signal }), reason);
  });

  test("between pieces of bytes", async () => {
    const stop = new AbortController();
    const big = new Uint8Array(3 << 20);
    big.set(read(LEXICON));
    const loading = loadModel(big, { signal: stop.signal, onProgress: () => stop.abort(reason) });
    await assert.rejects(loading, reason);
  });

  test("with the default reason is an AbortError", async () => {
    const error = await failure(loadModel(BYTES, { signal: AbortSignal.abort() }));
    assert.equal(error.name, "AbortError");
  });
});

test("the page's module itself takes bytes in Node too", async () => {
  assert.equal(await words(await loadInPage(model, { wasm })), whole);
});

test("the probe finds SIMD here", () => assert.match(detectBuild(), /^(simd128|relaxed)$/));

test("pieces of any size give the same model", async () => {
  for (const size of [1, 7, 4096, model.length]) {
    const limit = size === 1 ? 3000 : Infinity; // the header byte by byte, the rest at once
    const stream = new ReadableStream({
      start(controller) {
        let at = 0;
        for (; at < Math.min(limit, model.length); at += size) controller.enqueue(model.slice(at, Math.min(at + size, limit)));
        if (at < model.length) controller.enqueue(model.slice(at));
        controller.close();
      },
    });
    assert.equal(await words(await loadModel(new Response(stream))), whole, `pieces of ${size}`);
  }
});

test("ids of a stream can be collected", async () => {
  const loaded = await loadModel(BYTES);
  assert.equal((await collect(loaded.generateIds("a", { maxTokens: 3 }))).length, 3);
});
