// A program that uses every part of the interface; tsc checks it against
// index.d.ts and pagelm.d.ts. It is never run.
import { ENGINES, PagelmError, clearCache, detectBuild, loadModel } from "pagelm";
import type { Build, DownloadReport, Finish, GenerateOptions, Model, ModelSource, Progress, TopLogprobs, WorkerModel } from "pagelm";
import { loadModel as loadByCore } from "pagelm/core";
import { PagelmText } from "pagelm/element";

const show = (progress: Progress): string => `${progress.phase} ${progress.loaded} of ${progress.total ?? "?"}`;

export async function write(source: ModelSource, signal: AbortSignal): Promise<string> {
  const build: Build = detectBuild();
  const model: Model = await loadModel(source, { build, signal, contextLength: 64, maxText: 512, batch: 8, slide: true, onProgress: show });
  const options: GenerateOptions = {
    maxTokens: 10, temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05, repetitionPenalty: 1.1, presencePenalty: 0,
    frequencyPenalty: 0, penaltyLastN: 32, ignoreEos: true, seed: 42, stop: ["\n", 7], logitBias: { 3: -1e9 },
    special: true, keep: false, yieldMs: 4, signal,
    onToken: (id, text) => console.log(id.toFixed(), text.length),
  };
  let text = "";
  for await (const part of model.generate("Once", options)) text += part;
  for await (const id of model.generateIds(new Uint32Array([1, 2]), { keep: true })) text += model.detokenize([id]);
  const answer: { text: string; ids: number[]; finish: Finish } = await model.complete([1, 2, 3]);
  await model.feed("more", { keep: true });
  const best: TopLogprobs = model.topLogprobs(5);
  const scores: Float32Array = model.logits();
  const kept: Uint8Array = model.snapshot();
  model.restore(kept);
  model.reset();
  text += `${answer.text} ${best.ids[0]} ${best.logprobs[0]} ${scores.length} ${model.tokenize("a", { special: true }).length}`;
  text += `${model.info.name} ${model.info.bos ?? "none"} ${model.memory.total} ${model.finish ?? "unfinished"}`;
  model.dispose();
  return text;
}

export async function scope(file: File): Promise<number> {
  using model = await loadModel(file, { wasm: new URL("https://example.org/pagelm.wasm") });
  return model.info.parameters;
}

export function explain(error: unknown): string {
  return error instanceof PagelmError ? `${error.code}: ${error.message} ${error.advice}` : String(error);
}

export async function elsewhere(url: URL, integrity: string): Promise<string> {
  const model: WorkerModel = await loadModel(url, { where: "worker", cache: true, integrity, retries: 5, stallMs: 10_000, embedding: true });
  const report: DownloadReport | null = model.download;
  let text = `${report?.from} ${report?.problem ?? "stored"} ${ENGINES.simd128.href}`;
  for await (const part of model.generate("Once", { onToken: (id) => console.log(id) })) text += part;
  const ids: Uint32Array = await model.tokenize(text);
  const vector: Float32Array = await model.embed(ids, { pooling: "last" });
  const kept: Uint8Array = await model.snapshot();
  await model.restore(kept);
  model.dispose();
  await clearCache(url);
  // @ts-expect-error nothing of the C interface crosses over
  model.raw();
  return `${text} ${vector.length}`;
}

export async function inside(file: File): Promise<number> {
  const model = await loadModel(file, { attention: true, embedding: true, where: "main" });
  const vector: Float32Array = await model.embed("a");
  const weights: Float32Array = model.attention(0, 1);
  const state: Float32Array = model.state();
  const core = await loadByCore(file, { flags: 2 });
  const { x, call, session, out, u32 } = core.raw();
  call(x["pagelm_session_snapshot_size"]!, session, out);
  // @ts-expect-error the loader alone has no cache
  await loadByCore(file, { cache: true });
  return vector.length + weights.length + state.length + u32[out / 4]!;
}

export async function element(signal: AbortSignal): Promise<string> {
  const it: PagelmText = document.createElement("pagelm-text");
  it.value = "Once";
  it.addEventListener("pagelm-end", ({ detail }) => console.log(detail.text, detail.finish), { signal });
  await it.load();
  const text: string | null = await it.generate();
  it.stop();
  return text ?? it.text;
}

// What must not compile.
export async function mistakes(model: Model): Promise<void> {
  const output: Float32Array = model.predict([1, 2, 3, 4]);
  model.predict(new Float32Array(model.info.inputs), { keep: true, everyStep: true });
  model.predict(model.tokenize("a"));
  const state: Float32Array = model.state();
  model.state(state);
  void output;
  // @ts-expect-error numbers come in a list
  model.predict(7);
  // @ts-expect-error a number is no source
  await loadModel(7);
  // @ts-expect-error there is no such place
  await loadModel("m.gguf", { where: "cloud" });
  // @ts-expect-error there is no such build
  await loadModel("m.gguf", { build: "sse2" });
  // @ts-expect-error a temperature is a number
  await model.complete("a", { temperature: "hot" });
  // @ts-expect-error what a model is does not change
  model.info.vocabSize = 3;
  // @ts-expect-error an end of its own does not exist
  const end: Finish = "eos";
  void end;
}
