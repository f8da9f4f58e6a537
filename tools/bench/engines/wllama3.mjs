// @wllama/wllama 3: memory64 and JSPI. Its server takes text, so the prompt is " the" n times, one token each.
import { warm } from "../protocol.mjs";

const ESM = "/tools/bench/node_modules/@wllama/wllama/esm/";

export default async function (job, files) {
  const { Wllama, LoggerWithoutDebug } = await import(`${ESM}index.min.js`);
  const wllama = new Wllama({ default: `${ESM}wasm/wllama.wasm` }, { suppressNativeLog: true, logger: LoggerWithoutDebug });
  wllama.setCompat(null);

  async function generate(read, write) {
    const begin = performance.now();
    const { timings } = await wllama.createCompletion({
      prompt: " the".repeat(read), max_tokens: write, n_predict: write, temperature: 0, top_k: 1, samplers: ["top_k"],
      ignore_eos: true, cache_prompt: false,
    });
    if (timings.prompt_n !== read || timings.predicted_n !== write) throw new Error(`counts: ${JSON.stringify(timings)}`);
    return { all: performance.now() - begin, prompt: timings.prompt_ms };
  }

  return {
    async measure({ promptTokens, prefillTokens, decodeTokens, decodeRuns, prefillRuns, warmMs }) {
      const start = performance.now();
      const blob = await (await fetch(files.model(job.model))).blob();
      await wllama.loadModel([blob], {
        n_ctx: 256, n_batch: 256, n_ubatch: 256, n_threads: 1, n_gpu_layers: 0, n_parallel: 1, warmup: false,
      });
      const load_ms = performance.now() - start;
      await generate(promptTokens, 1);
      const first_ms = performance.now();
      await warm(warmMs, () => generate(promptTokens, 16));
      const decode = [];
      const prefill = [];
      for (let run = 0; run < decodeRuns; run++) {
        const { all, prompt } = await generate(promptTokens, decodeTokens + 1);
        decode.push((decodeTokens / (all - prompt)) * 1000);
      }
      await generate(prefillTokens, 1);
      await warm(warmMs, () => generate(prefillTokens, 1));
      for (let run = 0; run < prefillRuns; run++) prefill.push((prefillTokens / (await generate(prefillTokens, 1)).all) * 1000);
      return { version: `3.8.1, llama.cpp ${Wllama.getLibllamaVersion()}`, decode, prefill, load_ms, first_ms, wasm_bytes: null };
    },
  };
}
