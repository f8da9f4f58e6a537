// The same through pagelm's own module: its exports are the C functions of pagelm.h, and the network
// is a file. One block of memory holds everything; this page hands out its parts.

export async function network(signal) {
  const { instance } = await WebAssembly.instantiateStreaming(fetch("../../bindings/js/pagelm.wasm"));
  const c = instance.exports;
  const bytes = new Uint8Array(await (await fetch("../models/denoise.gguf")).arrayBuffer());

  let free = c.__heap_base.value;
  const take = (size) => {
    const at = (free + 7) & ~7;
    free = at + size;
    const missing = free - c.memory.buffer.byteLength;
    if (missing > 0) c.memory.grow(Math.ceil(missing / 65536));
    return at;
  };
  const view = () => new DataView(c.memory.buffer);
  const check = (status) => {
    if (status < 0) throw new Error(`pagelm: status ${status}, see docs/ABI.md`);
  };

  // The file, and what it says about itself: a pagelm_model_info of 176 bytes, model_mem_size at 56.
  const file = take(bytes.length);
  new Uint8Array(c.memory.buffer).set(bytes, file);
  const info = take(176);
  view().setUint32(info, 176, true);
  check(c.pagelm_model_probe(file, bytes.length, info, 0));
  const modelSize = view().getUint32(info + 56, true);

  // The model in its memory, then a session in its own. Handles come back through `answer`.
  const answer = take(8);
  const modelMemory = take(modelSize);
  check(c.pagelm_model_init(modelMemory, modelSize, file, bytes.length, bytes.length, answer, 0));
  const model = view().getUint32(answer, true);
  check(c.pagelm_session_mem_size(model, 0, answer));
  const sessionSize = view().getUint32(answer, true);
  const sessionMemory = take(sessionSize);
  check(c.pagelm_session_init(sessionMemory, sessionSize, model, 0, answer, 0));
  const session = view().getUint32(answer, true);

  // Numbers go in and out through the module's memory, as before. Flag 2: an output for every step.
  const input = take(4 * signal.length);
  const output = take(4 * signal.length);
  new Float32Array(c.memory.buffer, input, signal.length).set(signal);
  check(c.pagelm_session_predict(session, input, signal.length, 2, output, signal.length, answer));
  return new Float32Array(c.memory.buffer, output, signal.length).slice();
}
