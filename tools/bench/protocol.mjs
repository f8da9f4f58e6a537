// How an engine is measured: the same code for every one, in a page and in Node.js.
//
// An engine is { version, load(), prefill(ids) -> next id, step(id) -> next id, note?, table? }. `prefill` begins a new text and
// reads `ids`; `step` feeds one id. Both give the id with the greatest logit, taken in JavaScript or by the package.
// An engine whose package takes text only brings `measure(plan)` instead.

export const isNode = typeof process !== "undefined" && !!process.versions?.node;

/** The same ids as `prompt` of models/weights.py. */
export function prompt(n, vocab) {
  let x = 12345n;
  return Array.from({ length: n }, () => {
    x = (x * 1103515245n + 12345n) & 0x7fffffffn;
    return Number(x) % (vocab - 1);
  });
}

export function argmax(numbers) {
  let best = 0;
  for (let i = 1; i < numbers.length; i++) if (numbers[i] > numbers[best]) best = i;
  return best;
}

/** What is done in one run: how many tokens are read and written, and how often. */
export function planOf(shape, { quick, smoke } = {}) {
  if (smoke) return { promptTokens: 4, traceTokens: 2, prefillTokens: 8, decodeTokens: 8, decodeRuns: 1, prefillRuns: 1, warmMs: 0 };
  const runs = quick ? 1 : 2;
  const decodeTokens = shape.kind === "gpt" ? 64 : 1024;
  return { promptTokens: 16, traceTokens: 8, prefillTokens: 128, decodeTokens, decodeRuns: runs, prefillRuns: runs, warmMs: 1000 };
}

/** Works for a while unmeasured: V8 runs slow first code, and puts better code in its place in the background. */
export async function warm(ms, work) {
  for (const end = performance.now() + ms; performance.now() < end; ) await work();
}

// Every memory that this thread's modules make or export, for wasmBytes().
const memories = new Set();

/** Before the engine's code is loaded: notes each WebAssembly.Memory. */
export function watchMemories() {
  const { Memory, Instance } = WebAssembly;
  const note = (instance) => {
    for (const value of Object.values(instance.exports ?? {})) if (value instanceof Memory) memories.add(value);
  };
  WebAssembly.Memory = new Proxy(Memory, {
    construct(target, args) {
      const memory = new target(...args);
      memories.add(memory);
      return memory;
    },
  });
  WebAssembly.Instance = new Proxy(Instance, {
    construct(target, args) {
      const instance = new target(...args);
      note(instance);
      return instance;
    },
  });
  for (const name of ["instantiate", "instantiateStreaming"]) {
    const original = WebAssembly[name];
    WebAssembly[name] = async (...args) => {
      const result = await original.apply(WebAssembly, args);
      note(result.instance ?? result);
      return result;
    };
  }
}

/** Bytes of wasm memory on this thread; null where an engine keeps its own in a worker. */
export function wasmBytes() {
  let sum = 0;
  for (const memory of memories) sum += memory.buffer.byteLength;
  return sum || null;
}

/** One run: tokens per second of every measured text and prompt, the first token's time, the first tokens. */
export async function measure(engine, { plan, shape }) {
  const { promptTokens, traceTokens, prefillTokens, decodeTokens, decodeRuns, prefillRuns, warmMs } = plan;
  const now = () => performance.now();
  const start = now();
  await engine.load();
  const loaded = now();
  const short = prompt(promptTokens, shape.vocab);
  const long = prompt(prefillTokens, shape.vocab);
  let id = await engine.prefill(short);
  const first = now(); // counts from the navigation, in Node.js from the start of the process
  const tokens = [id];
  for (let i = 0; i < traceTokens; i++) tokens.push((id = await engine.step(id)));
  const write = async (n) => {
    id = await engine.prefill(short);
    const begin = now();
    for (let i = 0; i < n; i++) id = await engine.step(id);
    return (n / (now() - begin)) * 1000;
  };
  await warm(warmMs, () => write(16));
  const decode = [];
  for (let run = 0; run < decodeRuns; run++) decode.push(await write(decodeTokens));
  await engine.prefill(long);
  await warm(warmMs, () => engine.prefill(long));
  const prefill = [];
  for (let run = 0; run < prefillRuns; run++) {
    const begin = now();
    await engine.prefill(long);
    prefill.push((long.length / (now() - begin)) * 1000);
  }
  const { version, note, table } = engine;
  return { version, note, table, tokens, decode, prefill, load_ms: loaded - start, first_ms: first, wasm_bytes: wasmBytes() };
}

/** Loads the engine of a job and measures it; an error is a result, too. */
export async function runJob(job, files) {
  try {
    watchMemories();
    const { default: make } = await import(`./engines/${job.engine}.mjs`);
    const engine = await make(job, files);
    return await (engine.measure ? engine.measure(job.plan) : measure(engine, job));
  } catch (error) {
    return { error: String(error?.stack ?? error) };
  }
}
