// What a program in TypeScript writes: `tsc` must accept it, and refuse what is marked.
import init, { isPagelmError, Loader, loadModel, Model, type GenerateOptions, type ModelInfo, type PagelmError, type Progress } from "../pkg/pagelm.js";

await init();
const onProgress = ({ loaded, total, phase }: Progress) => console.log(loaded, total ?? "?", phase);
const model: Model = await loadModel(new URL("model.gguf", location.href), { onProgress, contextLength: 64 });
const options: GenerateOptions = { maxTokens: 9, temperature: 0.8, stop: ["\n", 3], logitBias: { 5: -1 } };
for await (const text of model.generate("Once", options)) console.log(text.toUpperCase());
for await (const id of model.generateIds([1, 2, 3])) console.log(id.toFixed());
const { text, ids, finish } = await model.complete("Once", options);
console.log(text.length, ids.length, finish === "length");
const info: ModelInfo = model.info;
const numbers: Float32Array = model.predict(new Float32Array(info.inputs), { everyStep: true });
const tokens: Uint32Array = model.tokenize("text", { special: true });
console.log(numbers.length, model.detokenize(tokens), model.topLogprobs().ids, model.finish ?? "none");
const vector: Float32Array = await model.embed("Once", { pooling: "last" });
console.log(vector.length);
const loader = new Loader();
if (loader.push(new Uint8Array(8))) loader.finish().dispose();
const steps = model.start("Once");
console.log(steps.step(16) === "token" ? steps.text : steps.id);
try {
  model.restore(model.snapshot());
} catch (error) {
  if (isPagelmError(error)) {
    const { code, message }: PagelmError = error;
    console.log(code, message);
  }
}
// @ts-expect-error a source is no number
await loadModel(5);
// @ts-expect-error an option that there is not
await model.complete("Once", { temprature: 1 });
// @ts-expect-error steps end by word
console.log(steps.step(1) === "done");
