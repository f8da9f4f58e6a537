// pagelm by its own loader: a text by generateIds, a recurrent network by predict, a step per call.
import { argmax, isNode } from "../protocol.mjs";

export default async function (job, files) {
  const { loadModel } = await import(isNode ? "../../../bindings/js/node.js" : "/bindings/js/pagelm.js");
  const wasm = files.engine(`bindings/js/${job.file}`);
  let model, text;

  async function next() {
    const { value, done } = await text.next();
    if (done) throw new Error(`the text ended: ${model.finish}`);
    return value;
  }

  const gpt = {
    async prefill(ids) {
      await text?.return();
      text = model.generateIds(ids, { temperature: 0, ignoreEos: true });
      return next();
    },
    step: next, // the model's own last token is fed by itself
  };
  const recurrent = {
    prefill: async (ids) => argmax(model.predict(ids)),
    step: (id) => argmax(model.predict([id], { keep: true })),
  };
  return {
    version: job.version,
    // The first layer's product with each token is kept once it was computed: see docs/ABI.md.
    table: job.shape.vocab <= job.shape.embedding,
    async load() {
      model = await loadModel(files.model(job.model), { wasm, contextLength: Math.min(256, job.shape.context ?? 256) });
    },
    ...(job.shape.kind === "gpt" ? gpt : recurrent),
  };
}
