// The limits of this machine inside wasm, one thread: reading memory in order, and products of what lies in the nearest cache.
const PAGE = 65536;
const BYTES = 256 << 20;
const OPERAND = 4096;
/** Multiplications and additions for each byte read. */
const OPERATIONS = { f32: 0.5, dot8: 2, relaxed: 2 };

export default async function (job, files) {
  const { instance } = await WebAssembly.instantiate(await files.bytes(job.model));
  const { memory, ...functions } = instance.exports;
  const seconds = (name, ...args) => {
    const begin = performance.now();
    functions[name](...args);
    return (performance.now() - begin) / 1000;
  };
  return {
    async measure() {
      new Float32Array(memory.buffer, PAGE, BYTES / 4).fill(1);
      const read = () => BYTES / seconds("read", PAGE, BYTES, 1) / 1e9;
      read(), read(); // the optimising compiler has its turn
      const result = { read_gbs: Array.from({ length: 5 }, read), wasm_bytes: null };
      for (const [name, operations] of Object.entries(OPERATIONS)) {
        const times = 100_000;
        const rate = () => (OPERAND * times * operations) / seconds(name, PAGE, OPERAND, times) / 1e9;
        rate();
        result[`${name}_gops`] = Array.from({ length: 3 }, rate);
      }
      return result;
    },
  };
}
