// The worker's side of `where: "worker"`: holds the model and does what remote.js asks, one message
// for each thing. A token is made only when the page asks for it.

/** Answers what comes through `port` until its worker ends. `loadModel` is that of this host. */
export function serve(port, loadModel) {
  const busy = new Map(); // by number: how to stop what runs, the text that is being streamed
  let model;

  const say = (id, answer, transfer = []) => port.postMessage({ id, ...answer, total: model?.memory.total }, transfer);

  const work = {
    async load(id, { source, wasm, options, progress }) {
      const onProgress = progress ? (progress) => say(id, { progress }) : undefined;
      const settings = { ...options, signal: signal(id), onProgress };
      if (wasm) settings.wasm = wasm;
      model = await loadModel(source.answer ? received(id, source) : source, settings);
      const { info, memory, download } = model;
      return { info, memory, download };
    },
    async call(id, { name, args, watch }) {
      if (["complete", "feed", "embed"].includes(name)) {
        args[1] = { ...args[1], signal: signal(id), onToken: watch ? (...token) => say(id, { token }) : undefined };
      }
      const result = await model[name](...args);
      return { result, finish: model.finish };
    },
    /** The next piece of a text, with all tokens since the one before; begins the text at first. */
    async pull(id, { name, prompt, options }) {
      let it = busy.get(id);
      if (!it?.text) {
        const settings = { ...options, signal: signal(id), onToken: (...token) => it.tokens.push(token) };
        it = Object.assign(busy.get(id), { text: model[name](prompt, settings), tokens: [] });
      }
      const { value, done } = await it.text.next();
      if (done) busy.delete(id);
      return { value, done, tokens: it.tokens.splice(0), finish: model.finish };
    },
  };

  const asides = {
    abort: (id) => busy.get(id)?.stop.abort(),
    end(id) {
      busy.get(id)?.text?.return();
      busy.delete(id);
    },
    piece: (id, { piece, error }) => busy.get(id)?.got(piece, error),
  };

  function signal(id) {
    const stop = new AbortController();
    busy.set(id, { ...busy.get(id), stop });
    return stop.signal;
  }

  /** An answer that the page reads: each of its pieces is asked for when the engine has room. */
  function received(id, { url, status, type }) {
    const stream = new ReadableStream({
      async pull(controller) {
        const piece = await new Promise((got, failed) => {
          busy.get(id).got = (piece, error) => (error ? failed(revived(error)) : got(piece));
          say(id, { want: true });
        });
        if (piece) controller.enqueue(piece);
        else controller.close();
      },
    }, { highWaterMark: 0 });
    const response = new Response(stream, { status, headers: type ? { "content-type": type } : {} });
    return Object.defineProperty(response, "url", { value: url });
  }

  port.addEventListener("message", async ({ data: { id, does, ...what } }) => {
    if (asides[does]) return asides[does](id, what);
    try {
      const value = await work[does](id, what);
      const { result } = value;
      say(id, { value }, ArrayBuffer.isView(result) ? [result.buffer] : []);
    } catch (error) {
      say(id, { error: flat(error) });
    } finally {
      if (does !== "pull") busy.delete(id);
    }
  });
}

/** An error as a message can carry it, and back. */
export const flat = (error) => ({ code: error?.code, name: error?.name, message: String(error?.message ?? error), cause: error?.cause && flat(error.cause) });

export function revived({ name, message, cause }) {
  return Object.assign(new Error(message, { cause: cause && revived(cause) }), { name });
}
