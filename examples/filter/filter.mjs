// The host of the module: a function from samples to samples.
//
//   const filter = await loadFilter(await WebAssembly.compileStreaming(fetch("pagelm-filter.wasm")), bytesOfTheModel);
//   const clean = filter(noisy);          // a Float32Array of any length; it goes on where it was
//   filter(noisy, clean);                 // into one that is there already
//
// An AudioWorklet gets the compiled module and the model's bytes by `processorOptions`, and calls it on each block of 128
// in the second way, which allocates nothing.

export async function loadFilter(module, model) {
  const { memory, place, input, output, load, filter } = (await WebAssembly.instantiate(module)).exports;
  const room = new Uint8Array(memory.buffer, place());
  const check = (status) => {
    if (status < 0) throw new Error(`the filter says ${status}: see PAGELM_ERROR_ in pagelm.h`);
    return status;
  };
  if (model.length > 65536) throw new Error(`the model has ${model.length} bytes, of 65536 at most`);
  room.set(model);
  check(load(model.length));
  const [x, y] = [input(), output()].map((at) => new Float32Array(memory.buffer, at, 128));
  return (samples, out = new Float32Array(samples.length)) => {
    for (let at = 0; at < samples.length; at += 128) {
      const n = Math.min(128, samples.length - at);
      for (let i = 0; i < n; i++) x[i] = samples[at + i];
      check(filter(n));
      for (let i = 0; i < n; i++) out[at + i] = y[i];
    }
    return out;
  };
}
