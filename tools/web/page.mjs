// Runs inside a browser's page (blank.html) what the query asks for, and leaves
// the answer in `globalThis.answer`. `?complete=JSON` completes a prompt;
// `?tests=MODEL` runs the loader's browser tests on that model.
import { clearCache, loadModel as loadWhole } from "../../bindings/js/index.js";
import { PagelmError, loadModel } from "../../bindings/js/pagelm.js";
import { complete } from "./complete.mjs";

const query = new URLSearchParams(location.search);
const engine = (file) => new URL(`../../bindings/js/${file}`, import.meta.url);

function expect(truth, message) {
  if (!truth) throw new Error(message);
}

async function rejects(promise, code) {
  const error = await promise.then(() => null, (error) => error);
  expect(error instanceof PagelmError && error.code === code, `wanted a PagelmError ${code}, got ${error}`);
  expect(error.message.length > 20, `the message is too short: ${error.message}`);
}

const TESTS = {
  async "streams the engine with instantiateStreaming"(model) {
    const original = WebAssembly.instantiateStreaming;
    let streamed = 0;
    WebAssembly.instantiateStreaming = (...args) => (streamed++, original.apply(WebAssembly, args));
    try {
      await loadModel(model);
    } finally {
      WebAssembly.instantiateStreaming = original;
    }
    expect(streamed === 1, `it was called ${streamed} times`);
  },

  async "starts an engine that is served with a wrong type"(model) {
    const bytes = await (await fetch(engine("pagelm.wasm"))).arrayBuffer();
    const wasm = new Response(bytes, { headers: { "content-type": "text/plain" } });
    const { text } = await complete(loadModel, { model, wasm, options: { maxTokens: 4, temperature: 0 } });
    expect(text.length > 0, "no text");
  },

  async "tells progress that ends at the file's size"(model) {
    const seen = [];
    const loaded = await loadModel(model, { onProgress: (progress) => seen.push(progress) });
    const size = loaded.info.fileSize;
    expect(seen.length > 0, "no progress was told");
    expect(seen.every((now, i) => !i || now.loaded >= seen[i - 1].loaded), "progress went back");
    expect(seen.at(-1).loaded === size && seen.at(-1).total === size, JSON.stringify(seen.at(-1)));
  },

  async "a load can be aborted"(model) {
    const control = new AbortController();
    control.abort();
    const error = await loadModel(model, { signal: control.signal }).then(() => null, (error) => error);
    expect(error?.name === "AbortError", `got ${error}`);
  },

  async "memory does not grow while it generates"(model) {
    const grow = WebAssembly.Memory.prototype.grow;
    let memory, loaded;
    WebAssembly.Memory.prototype.grow = function (pages) {
      memory = this;
      return grow.call(this, pages);
    };
    try {
      loaded = await loadModel(model);
    } finally {
      WebAssembly.Memory.prototype.grow = grow;
    }
    const before = memory.buffer;
    expect(before.byteLength === loaded.memory.total, `${before.byteLength} bytes, told ${loaded.memory.total}`);
    await loaded.complete("The", { maxTokens: 48, temperature: 0.7, seed: 1 });
    // Growth, by whomever, puts a new buffer in its place.
    expect(memory.buffer === before, "memory has grown");
  },

  async "stops in the middle of a text"(model) {
    const loaded = await loadModel(model);
    let pieces = 0;
    for await (const piece of loaded.generate("The", { maxTokens: 100, temperature: 0 })) {
      expect(typeof piece === "string", `a piece is ${typeof piece}`);
      if (++pieces === 3) break;
    }
    expect(pieces === 3, `${pieces} pieces came`);
    const { ids } = await loaded.complete("The", { maxTokens: 5, temperature: 0 });
    expect(ids.length === 5, `the next text had ${ids.length} tokens`);
  },

  async "a load ends in the middle when told to"(model) {
    const control = new AbortController();
    const reason = new Error("enough");
    const bytes = new Uint8Array(await (await fetch(model)).arrayBuffer());
    const slow = new Response(streamOf(bytes, 100_000));
    const loading = loadModel(slow, { signal: control.signal, onProgress: () => control.abort(reason) });
    const error = await loading.then(() => null, (error) => error);
    expect(error === reason, `got ${error}`);
  },

  async "a text ends in the middle when told to"(model) {
    const control = new AbortController();
    const loaded = await loadModel(model);
    const onToken = () => control.abort();
    const error = await loaded.complete("The", { signal: control.signal, onToken }).then(() => null, (error) => error);
    expect(error?.name === "AbortError", `got ${error}`);
  },

  async "works without a length, in pieces of any size"(model) {
    const bytes = new Uint8Array(await (await fetch(model)).arrayBuffer());
    const whole = await complete(loadModel, { model: bytes, options: { maxTokens: 8 } });
    const pieces = await complete(loadModel, { model: new Response(streamOf(bytes, 997)), options: { maxTokens: 8 } });
    expect(pieces.text === whole.text, pieces.text);
  },

  async "a connection lost at 80 % is a clear error"(model) {
    const bytes = new Uint8Array(await (await fetch(model)).arrayBuffer());
    const part = bytes.subarray(0, bytes.length * 0.8);
    await rejects(loadModel(new Response(streamOf(part, 10_000, new TypeError("lost")))), "TRUNCATED");
  },

  async "the page paints while a text is written"(model) {
    const loaded = await loadModel(model);
    let frames = 0;
    let running = true;
    const paint = () => running && (frames++, requestAnimationFrame(paint));
    requestAnimationFrame(paint);
    const end = performance.now() + 500;
    while (performance.now() < end) await loaded.complete("The", { maxTokens: 60, ignoreEos: true });
    running = false;
    expect(frames >= 8, `${frames} frames in half a second`);
  },

  async "a file that a person chose is a model"(model) {
    const file = new File([await (await fetch(model)).blob()], "chosen.gguf");
    const { ids } = await complete(loadModel, { model: file, options: { maxTokens: 4 } });
    expect(ids.length === 4, `${ids.length} tokens`);
  },

  async "a worker writes the same text, token by token"(model) {
    const here = await loadModel(model), there = await loadWhole(model, { where: "worker" });
    const options = { maxTokens: 20, temperature: 0.9, seed: 7 };
    const want = (await here.complete("The", options)).text;
    let text = "";
    for await (const piece of there.generate("The", options)) text += piece;
    expect(text === want && want.length > 20, text);
    there.dispose();
    await rejects(there.complete("The"), "DEAD");
  },

  async "a worker takes a file, an answer and bytes"(model) {
    const bytes = await (await fetch(model)).arrayBuffer();
    for (const source of [new File([bytes], "chosen.gguf"), await fetch(model), bytes]) {
      const { ids } = await complete((source) => loadWhole(source, { where: "worker" }), { model: source, options: { maxTokens: 4 } });
      expect(ids.length === 4, `${ids.length} tokens`);
    }
  },

  async "the cache keeps a model for the next visit, checked by its hash"(model) {
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await (await fetch(model)).arrayBuffer()));
    const integrity = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
    const from = [];
    for (const options of [{}, {}, { integrity }, { where: "worker" }]) {
      const { download } = await loadWhole(model, { cache: true, ...options });
      expect(download.stored, `not stored: ${download.problem}`);
      from.push(download.from);
    }
    expect(from.join() === "network,cache,cache,cache", from.join());
    await rejects(loadWhole(model, { integrity: "0".repeat(64) }), "INTEGRITY");
    await clearCache(model);
    const { download } = await loadWhole(model, { cache: true });
    expect(download.from === "network", download.from);
    await clearCache();
  },

  async "after dispose every call says that the model is gone"(model) {
    const loaded = await loadModel(model);
    loaded.dispose();
    await rejects(loaded.complete("The"), "DEAD");
  },

  async "a page instead of a model is a clear error"() {
    await rejects(loadModel(new URL("blank.html", import.meta.url)), "HTML");
  },

  async "a missing model is a clear error"() {
    await rejects(loadModel(new URL("no-such-model.gguf", import.meta.url)), "HTTP");
  },

  async "a model cut short is a clear error"(model) {
    const bytes = await (await fetch(model)).arrayBuffer();
    await rejects(loadModel(bytes.slice(0, bytes.byteLength - 100)), "TRUNCATED");
  },
};

/** A stream of bytes in pieces, that ends well or with an error. */
function streamOf(bytes, size, error) {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at < bytes.length) return controller.enqueue(bytes.slice(at, (at += size)));
      return error ? controller.error(error) : controller.close();
    },
  });
}

async function runTests(model) {
  const results = [];
  for (const [name, test] of Object.entries(TESTS)) {
    const error = await test(new URL(model, location.origin)).then(() => null, (error) => String(error?.message ?? error));
    results.push({ name, error });
  }
  return results;
}

async function answer() {
  if (query.has("tests")) return runTests(query.get("tests"));
  const request = JSON.parse(query.get("complete"));
  return complete(loadModel, { ...request, model: new URL(request.model, location.origin) });
}

globalThis.answer = await answer().then((value) => ({ value }), (error) => ({ error: String(error?.stack ?? error) }));
