// A model in a worker, with the methods of one in this thread; those that answer at once there give
// a promise here. Each token crosses over when it is asked for: nothing runs ahead of the reader.
import { PagelmError } from "./advice.js";
import { flat, revived } from "./serve.js";

const STREAMS = ["generate", "generateIds"];
const TEXTS = ["complete", "feed", "embed"];
const CALLS = ["tokenize", "detokenize", "logits", "topLogprobs", "predict", "state", "attention", "snapshot", "restore", "reset"];

/** The messages between this thread and one worker. */
class Link {
  waiting = new Map();
  dead = null;
  #count = 0;
  #heard = () => {};

  constructor(worker) {
    this.worker = worker;
    worker.addEventListener("message", ({ data }) => this.#receive(data));
    worker.addEventListener("messageerror", () => this.die("WORKER", "an answer could not be read"));
    worker.addEventListener("error", (event) => {
      event.preventDefault?.();
      const text = event.message ?? event.error?.message;
      this.die("WORKER", text ? `the worker failed: ${text}` : "the worker did not start: its script is missing, or a policy forbids it", event.error);
    });
  }

  /** Called with what each answer tells of memory. */
  hear(heard) {
    this.#heard = heard;
  }

  next = () => ++this.#count;

  post(id, does, what) {
    if (!this.dead) this.worker.postMessage({ id, does, ...what });
  }

  /** Asks for `does` and gives the answer. `signal` stops it; `on` takes what comes before it. */
  ask(id, does, what, { signal, on } = {}) {
    return new Promise((done, failed) => {
      signal?.throwIfAborted();
      if (this.dead) throw this.dead();
      const abort = () => {
        settle();
        this.post(id, "abort");
        failed(signal.reason);
      };
      const settle = () => {
        this.waiting.delete(id);
        if (!this.waiting.size) this.worker.unref?.();
        signal?.removeEventListener("abort", abort);
      };
      const aside = (what) => {
        try {
          on?.(what);
        } catch (error) {
          settle();
          this.post(id, "abort");
          failed(error);
        }
      };
      this.waiting.set(id, { aside, done: (value) => (settle(), done(value)), failed: (error) => (settle(), failed(error)) });
      this.worker.ref?.();
      signal?.addEventListener("abort", abort);
      try {
        this.post(id, does, what);
      } catch (error) {
        settle(); // something that no message can carry
        throw error;
      }
    });
  }

  #receive({ id, value, error, total, ...aside }) {
    if (total) this.#heard(total);
    const call = this.waiting.get(id);
    if (!call) return;
    if (value) call.done(value);
    else if (error) call.failed(thrown(error));
    else call.aside(aside);
  }

  die(code, message, cause) {
    if (this.dead) return;
    this.dead = () => new PagelmError(code, message, cause);
    this.worker.terminate();
    for (const { failed } of [...this.waiting.values()]) failed(this.dead());
  }
}

const thrown = (error) => (typeof error.code === "string" ? new PagelmError(error.code, error.message, error.cause && revived(error.cause)) : revived(error));

/** Loads a model in `worker`. `source` and `wasm` are addresses in full, bytes, files or answers. */
export async function loadRemote(worker, source, options) {
  const { signal, onProgress, wasm, where, ...rest } = options, link = new Link(worker);
  const reader = source instanceof Response ? (source.body ?? new Blob([]).stream()).getReader() : null, id = link.next();
  const answer = { answer: true, url: source.url, status: source.status, type: reader && source.headers.get("content-type") };
  const on = ({ progress, want }) => {
    if (want) return pass(link, id, reader);
    try {
      onProgress?.(progress);
    } catch (error) {
      throw new PagelmError("ON_PROGRESS", `${source.url || source.name || (source.byteLength ? "the bytes given" : source)}: ${error.message}`, error);
    }
  };
  try {
    const engine = wasm instanceof Response ? await wasm.arrayBuffer() : wasm;
    const what = { source: reader ? answer : source, wasm: engine, options: rest, progress: !!onProgress };
    return modelOf(link, await link.ask(id, "load", what, { signal, on }));
  } catch (error) {
    reader?.cancel().catch(() => {});
    link.die("DEAD", "the load failed; load the model again");
    throw error;
  }
}

async function pass(link, id, reader) {
  try {
    const { value: piece } = await reader.read();
    link.post(id, "piece", { piece }); // a copy: whose buffer it is, only the answer knows
  } catch (error) {
    link.post(id, "piece", { error: flat(error) });
  }
}

function modelOf(link, { info, memory, download }) {
  const model = { info, memory, download };
  const call = async (name, args, { signal, onToken } = {}) => {
    const on = ({ token }) => onToken?.(...token);
    const { result, finish } = await link.ask(link.next(), "call", { name, args, watch: !!onToken }, { signal, on });
    model.finish = finish;
    return result;
  };

  async function* stream(name, prompt, { signal, onToken, ...options } = {}) {
    const id = link.next();
    try {
      for (;;) {
        const { value, done, tokens, finish } = await link.ask(id, "pull", { name, prompt, options }, { signal });
        for (const token of tokens) {
          onToken?.(...token);
          signal?.throwIfAborted();
        }
        model.finish = finish;
        if (done) return;
        yield value;
      }
    } finally {
      link.post(id, "end");
    }
  }

  link.hear((total) => (memory.total = total));
  for (const name of STREAMS) model[name] = (prompt, options) => stream(name, prompt, options);
  for (const name of TEXTS) {
    model[name] = (prompt, { signal, onToken, ...options } = {}) => call(name, [prompt, options], { signal, onToken });
  }
  for (const name of CALLS) model[name] = (...args) => call(name, args);
  model.dispose = () => link.die("DEAD", "disposed of; load the model again");
  if (Symbol.dispose) model[Symbol.dispose] = model.dispose;
  return model;
}
