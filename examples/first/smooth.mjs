// A C function, called from a page. The module is emcc's, the JavaScript is all here.

export async function smooth(signal) {
  const { instance } = await WebAssembly.instantiateStreaming(fetch("smooth.wasm"));
  const c = instance.exports;

  // Numbers go in and out through the module's memory.
  new Float32Array(c.memory.buffer, c.input(), signal.length).set(signal);
  c.smooth(signal.length);
  return new Float32Array(c.memory.buffer, c.output(), signal.length).slice();
}
