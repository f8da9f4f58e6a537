// What a model of the whole entry can do beyond that of pagelm.js, by the C interface itself.
import { PagelmError } from "./advice.js";

const POOLINGS = ["mean", "last"];
const FLAGS = { embedding: 2, attention: 4, halfCache: 8, lowMemory: 16 }; // PAGELM_EMBEDDING, PAGELM_ATTENTION, ...

/** `flags` of pagelm_session_params for these options. */
export const flagsOf = (options) => Object.keys(FLAGS).reduce((sum, name) => sum + (options[name] ? FLAGS[name] : 0), 0);

/** `download` tells how the file was had, `kept` what the session was laid out to keep. */
export function withMethods(model, download, kept) {
  /** A copy of the numbers that a function shows: where and how many, it writes at `out`. */
  function shown(name, ...args) {
    const { x, call, u32, f32, session, out } = model.raw();
    if (!x[`pagelm_session_${name}`]) throw new PagelmError("UNSUPPORTED", `this build of the engine has no ${name}`);
    call(x[`pagelm_session_${name}`], session, ...args, out, out + 4);
    const at = u32[out / 4] / 4;
    return f32.slice(at, at + u32[out / 4 + 1]);
  }

  function need(option) {
    if (!kept[option]) throw new PagelmError("UNSUPPORTED", `the model was loaded without \`${option}: true\``);
  }

  return Object.assign(model, {
    download,
    async embed(prompt, { pooling = "mean", ...options } = {}) {
      need("embedding");
      if (!POOLINGS.includes(pooling)) throw new PagelmError("BAD_PARAM", `pooling is "${pooling}": it must be "mean" or "last"`);
      if (prompt !== undefined) await model.feed(prompt, options);
      return shown("embedding", POOLINGS.indexOf(pooling));
    },
    attention(layer, head) {
      need("attention");
      return shown("attention", layer, head);
    },
    state(numbers) {
      const { x, call, u32, f32, session, scratch, end, out } = model.raw();
      if (numbers) {
        f32.set(numbers, scratch / 4);
        call(x.pagelm_session_write_state, session, scratch, numbers.length);
      }
      call(x.pagelm_session_read_state, session, scratch, (end - scratch) / 4, out);
      return f32.slice(scratch / 4, scratch / 4 + u32[out / 4]);
    },
  });
}
