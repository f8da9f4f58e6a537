const TOKEN = 1, MORE = 2;
const SETTINGS = ["temperature", "topK", "topP", "minP", "repetitionPenalty", "presencePenalty", "frequencyPenalty",
  "penaltyLastN", "ignoreEos", "seed", "stop", "logitBias"];

export class PagelmError extends Error {
  name = "PagelmError";
  constructor(code, message, cause) {
    super(message, { cause });
    this.code = code;
  }
}

const probe = (...op) => {
  try {
    return new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 7, 4,
      1, 0, 0, 0, 10, 23, 1, 21, 0, 65, 129, 127, 253, 15, 65, 127, 253, 15, 65, 2, 253, 15, 253, ...op, 253, 24, 0, 11))).exports[""]();
  } catch {}
};
export const detectBuild = () => (probe(147, 2) % 1024 === 1022 ? "relaxed" : probe(210, 0) ? "simd128" : "scalar");
export const ENGINES = {
  relaxed: new URL("pagelm-relaxed.wasm", import.meta.url),
  simd128: new URL("pagelm.wasm", import.meta.url),
  scalar: new URL("pagelm-scalar.wasm", import.meta.url),
};

const up = (n) => Math.ceil(n / 64) * 64;
const newDecoder = () => new TextDecoder("utf-8", { ignoreBOM: 1 });

let since = 0;
const pacer = (ms) => async () => {
  if (performance.now() - since < ms) return;
  await new Promise((go) => {
    if (globalThis.scheduler) return scheduler.postTask(go, { priority: "background" });
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => go(port1.close());
    port2.postMessage(0);
  });
  since = performance.now();
};

async function open(source, signal) {
  const response = source instanceof Response ? source : source instanceof Blob ? new Response(source) : await fetch(source, { signal });
  if (!response.ok) throw new PagelmError("HTTP", `status ${response.status}`);
  if (/html/.test(response.headers.get("content-type"))) throw new PagelmError("HTML", "a web page came: check the address");
  return response;
}

let warned;
async function start(source, signal) {
  if (source instanceof WebAssembly.Module) return WebAssembly.instantiate(source);
  if (!source.byteLength) {
    const response = await open(source, signal);
    if (/^application\/wasm/.test(response.headers.get("content-type"))) return (await WebAssembly.instantiateStreaming(response)).instance;
    warned ||= !console.warn(`${response.url}: application/wasm starts faster`);
    source = await response.arrayBuffer();
  }
  return (await WebAssembly.instantiate(source)).instance;
}

export async function loadModel(source, options = {}) {
  const { signal, onProgress, build = detectBuild(), wasm = ENGINES[build] } = options;
  const bytes = source.byteLength && new Uint8Array(source.buffer ?? source, source.byteOffset, source.byteLength);
  const failed = (code, from) => (cause) => {
    signal?.throwIfAborted();
    const error = cause instanceof PagelmError ? cause : new PagelmError(code, cause.message, cause);
    error.message = `${from.byteLength ? "the bytes given" : from.url || from.name || from}: ${error.message}`;
    throw error;
  };
  const [{ exports }, response] = await Promise.all([
    start(wasm, signal).catch(failed("WASM", wasm)),
    bytes || open(source, signal).catch(failed("NETWORK", source)),
  ]);
  const [model, receive] = createModel(exports, options);
  const reader = bytes || response.body.getReader();
  const breathe = pacer(8);
  let loaded = 0, whole, lost;
  try {
    while (!whole) {
      const piece = bytes
        ? bytes.subarray(loaded, loaded + 2 ** 20)
        : (await reader.read().catch((error) => ((lost = error), {}))).value ?? new Uint8Array();
      signal?.throwIfAborted();
      whole = receive(piece, loaded);
      loaded += piece.length;
      const total = model.info?.fileSize;
      if (!whole && !piece.length) throw new PagelmError("TRUNCATED", `the data ended after ${loaded} of ${total ?? "?"} bytes`, lost);
      onProgress?.({ loaded: whole ? total : loaded, total, phase: whole ? "ready" : "download" });
      await breathe();
    }
  } catch (error) {
    failed("ON_PROGRESS", source)(error);
  } finally {
    reader.cancel?.().catch(() => {});
  }
  return model;
}

function createModel({ memory, __heap_base, ...x }, options) {
  const base = up(__heap_base.value >>> 0);
  const [error, info, params, sampling, state, out, file] = [0, 192, 368, 392, 440, 480, 512].map((n) => base + n);
  let u8, u32, f32, utf8, handle, session, scratch, end;
  let probeAt = 1, budget = 16, turn = 0;

  function grow(to) {
    try {
      memory.grow(Math.max(0, Math.ceil((to - memory.buffer.byteLength) / 65536)));
    } catch {
      fail(-14, `${to} bytes needed; lower contextLength`);
    }
    u8 = new Uint8Array(memory.buffer);
    u32 = new Uint32Array(memory.buffer);
    f32 = new Float32Array(memory.buffer);
    model.memory.total = u8.length;
  }

  const word = (at) => u32[at / 4];
  const floats = (at, n) => f32.slice(at / 4, at / 4 + n);
  const string = (at) => newDecoder().decode(u8.subarray(at >>>= 0, u8.indexOf(0, at)));

  function struct(at, size, ...fields) {
    u8.fill(0, at, at + size);
    u32.set([size, ...fields], at / 4);
    return at;
  }

  function fail(status, text) {
    const what = string(x.pagelm_status_text(status));
    throw new PagelmError(what.toUpperCase().replaceAll(" ", "_"), text || what);
  }

  function kill(text, cause) {
    memory = x = u8 = u32 = f32 = new Proxy({}, { get() { throw new PagelmError("DEAD", text + "; load the model again", cause); } });
  }

  function call(f, a, b, c, d, e, g, h, i, j) {
    let status;
    try {
      status = f(a, b, c, d, e, g, h, i, j);
    } catch (cause) {
      kill(`the engine crashed: ${cause.message}`, cause);
      x.x;
    }
    if (status < 0) {
      if (a === session) x.pagelm_session_last_error(a, error);
      const text = string(error + 16);
      struct(error, 192);
      fail(status, text);
    }
    return status;
  }

  function receive(piece, loaded) {
    const got = Math.min(loaded + piece.length, model.info?.fileSize ?? Infinity);
    if (!model.info) grow(file + got);
    u8.set(piece.subarray(0, got - loaded), file + loaded);
    if (!model.info) {
      if (got < probeAt && piece.length) return;
      probeAt = got * 1.25;
      if (call(x.pagelm_model_probe, file, got, struct(info, 176), error) === MORE) return;
      layOut(got);
    }
    if (call(x.pagelm_model_advance, handle, Math.min(got, model.info.fileSize), error) === MORE) return;
    call(x.pagelm_session_init, session, model.memory.session, handle, params, out, error);
    session = word(out);
    return true;
  }

  function layOut(got) {
    const [vocabSize, maxContextLength, , layers, heads, tokenizer, bos, eos, , , , fileSize, , modelSize, , parameters] = u32.subarray(info / 4 + 1);
    const { contextLength = maxContextLength, maxText = 8 * contextLength + 256, batch, slide, flags } = options;
    struct(params, 24, contextLength, batch, maxText, slide, flags);
    call(x.pagelm_session_probe, file, got, params, out, error);
    model.info = {
      architecture: string(info + 80), name: string(info + 96), fileSize, parameters, vocabSize, contextLength, maxContextLength,
      layers, heads, tokenizer: !!tokenizer, bos: ~bos ? bos : null, eos: ~eos ? eos : null,
      inputs: word(info + 160), outputs: word(info + 164),
    };
    handle = file + up(fileSize);
    session = handle + up(modelSize);
    scratch = session + up(word(out));
    end = scratch + up(5 * maxText + x.pagelm_tokenize_work_size(maxText) + 4 * contextLength + 2048);
    model.memory = { file: fileSize, model: modelSize, session: word(out) };
    grow(end);
    call(x.pagelm_model_init, handle, modelSize, file, fileSize, Math.min(got, fileSize), out, error);
    handle = word(out);
  }

  function putText(text) {
    return new TextEncoder().encodeInto(text, u8.subarray(scratch, end)).written;
  }

  function putIds(ids) {
    if (4 * ids.length > end - scratch) fail(-21);
    u32.set(Array.from(ids, (id) => (id >>> 0 === id ? id : -1)), scratch / 4);
    return ids.length;
  }

  function set(options) {
    const at = struct(sampling, 48) / 4, bias = options.logitBias ?? {};
    for (let i = 0; i < 10; i++) (i > 6 || i === 1 ? u32 : f32)[at + 1 + i] = options[SETTINGS[i]] ?? 0;
    u32[at + 11] = options.seed / 2 ** 32;
    call(x.pagelm_session_set_sampling, session, sampling);
    const n = putIds(Object.keys(bias).map(Number));
    f32.set(Object.values(bias), scratch / 4 + n);
    call(x.pagelm_session_set_logit_bias, session, scratch, scratch + 4 * n, n);
    call(x.pagelm_session_clear_stops, session);
    for (const stop of [].concat(options.stop ?? [])) {
      if (typeof stop === "string") call(x.pagelm_session_add_stop, session, scratch, putText(stop));
      else call(x.pagelm_session_add_stop_token, session, stop);
    }
  }

  function released(stream) {
    call(x.pagelm_session_text, session, out, out + 4);
    return utf8.decode(u8.subarray(word(out), word(out) + word(out + 4)), { stream });
  }

  async function* run(prompt = [], options = {}, step = x.pagelm_session_run, count = options.maxTokens ?? Infinity) {
    const { signal, keep, onToken, yieldMs = 8 } = options, breathe = pacer(yieldMs);
    if (!keep) model.reset();
    const mine = ++turn;
    if (!keep || SETTINGS.some((key) => key in options)) set(options);
    if (typeof prompt !== "string") call(x.pagelm_session_feed_ids, session, scratch, putIds(prompt));
    else call(x.pagelm_session_feed_text, session, scratch, putText(prompt), options.special);
    while (count > 0) {
      signal?.throwIfAborted();
      if (mine !== turn) throw new PagelmError("BUSY", "another call took over");
      const start = performance.now(), status = call(step, session, budget), room = yieldMs / 2 / (performance.now() - start);
      if (room < 1 || status === MORE) budget = 1 + budget * Math.min(room, 2);
      if (status === TOKEN) {
        count--;
        call(x.pagelm_session_token, session, out);
        const id = word(out), text = released(true);
        onToken?.(id, text);
        yield [id, text];
      } else if (status !== MORE) break;
      await breathe();
    }
    if (count <= 0) call(x.pagelm_session_finish, session);
    call(x.pagelm_session_get_info, session, struct(state, 40));
    model.finish = ["length", "stop", "stop", "context"][word(state + 20)];
    yield [-1, released(count <= 0)];
  }

  const model = {
    memory: {},
    async *generate(prompt, options) {
      if (!model.info.tokenizer) fail(-18);
      for await (const [, text] of run(prompt, options)) if (text) yield text;
    },
    async *generateIds(prompt, options) {
      for await (const [id] of run(prompt, options)) if (id >= 0) yield id;
    },
    async complete(prompt, options) {
      const ids = [];
      let text = "";
      for await (const [id, part] of run(prompt, options)) {
        text += part;
        if (id >= 0) ids.push(id);
      }
      return { text, ids, finish: model.finish };
    },
    async feed(prompt, options) {
      for await (const _ of run(prompt, options, x.pagelm_session_eval, 1));
    },
    tokenize(text, { special } = {}) {
      const n = putText(text), work = up(scratch + n), size = x.pagelm_tokenize_work_size(n), ids = work + up(size);
      if (ids > end) fail(-20);
      call(x.pagelm_model_tokenize, handle, scratch, n, special, work, size, ids, (end - ids) / 4, out);
      return u32.slice(ids / 4, ids / 4 + word(out));
    },
    detokenize(ids) {
      const n = putIds(ids), text = scratch + 4 * n;
      call(x.pagelm_model_detokenize, handle, scratch, n, text, end - text, out);
      return newDecoder().decode(u8.subarray(text, text + word(out)));
    },
    logits() {
      call(x.pagelm_session_logits, session, 0, out, out + 4);
      return floats(word(out), word(out + 4));
    },
    topLogprobs(n = 10) {
      const at = scratch + 4 * n;
      call(x.pagelm_session_top_logprobs, session, scratch, at, n);
      return { ids: u32.slice(scratch / 4, at / 4), logprobs: floats(at, n) };
    },
    predict(input, { keep, everyStep } = {}) {
      const { inputs, outputs } = model.info, n = input.length, at = scratch + 4 * n, room = everyStep ? (n / (inputs || 1)) * outputs : outputs;
      if (at + 4 * room > end) grow((end = at + 4 * room));
      (inputs ? f32 : u32).set(input, scratch / 4);
      call(inputs ? x.pagelm_session_predict : x.pagelm_session_predict_ids, session, scratch, n, !!keep + 2 * !!everyStep, at, room, out);
      return floats(at, word(out));
    },
    snapshot() {
      call(x.pagelm_session_snapshot_size, session, out);
      const size = word(out);
      grow(scratch + size);
      call(x.pagelm_session_snapshot, session, scratch, size, out);
      return u8.slice(scratch, scratch + size);
    },
    restore(snapshot) {
      model.reset();
      grow(scratch + snapshot.length);
      u8.set(snapshot, scratch);
      call(x.pagelm_session_restore, session, scratch, snapshot.length);
    },
    raw: () => ({ x, call, u8, u32, f32, session, handle, out, scratch, end }),
    reset() {
      turn++;
      utf8 = newDecoder();
      call(x.pagelm_session_reset, session);
    },
    dispose() {
      kill("disposed of");
    },
  };
  if (Symbol.dispose) model[Symbol.dispose] = model.dispose;
  grow(file);
  struct(error, 192);
  return [model, receive];
}
