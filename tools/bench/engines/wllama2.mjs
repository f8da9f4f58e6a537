// @wllama/wllama 2: llama.cpp for wasm32, its build for one thread. It needs Web Workers, so a page only.
const ESM = "/tools/bench/node_modules/wllama2/esm/";

export default async function (job, files) {
  const { Wllama, LoggerWithoutDebug } = await import(`${ESM}index.min.js`);
  const paths = Object.fromEntries(["single-thread", "multi-thread"].map((kind) => [`${kind}/wllama.wasm`, `${ESM}${kind}/wllama.wasm`]));
  const wllama = new Wllama(paths, { suppressNativeLog: true, logger: LoggerWithoutDebug });
  const next = async () => (await wllama.samplingSample()).token;
  return {
    version: `2.4.0, llama.cpp ${Wllama.getLibllamaVersion()}`,
    async load() {
      const blob = await (await fetch(files.model(job.model))).blob(); // spares it the copy to OPFS of loadModelFromUrl
      await wllama.loadModel([blob], { n_ctx: 256, n_batch: 256, n_threads: 1 });
      await wllama.samplingInit({ temp: 0 });
    },
    async prefill(ids) {
      await wllama.kvClear();
      await wllama.decode(ids, {});
      return next();
    },
    async step(id) {
      await wllama.samplingAccept([id]);
      await wllama.decode([id], {});
      return next();
    },
  };
}
