// One completion by the loader, the same in Node.js and in a page.
//
//   node complete.mjs '{"model": FILE, "wasm": FILE, "prompt": "...", "options": {...}}'
//
// prints {"text", "ids", "finish"} as JSON. Without "wasm", `options.build`
// chooses among the modules beside the loader.

export async function complete(loadModel, { model, wasm, build, prompt = "The", options }) {
  const loaded = await loadModel(model, { wasm, build });
  const { text, ids, finish } = await loaded.complete(prompt, options);
  loaded.dispose();
  return { text, ids: Array.from(ids), finish };
}

async function main(request) {
  const [{ pathToFileURL }, { allowRelaxed }, { loadModel }] = await Promise.all([
    import("node:url"), import("./relaxed.mjs"), import("../../bindings/js/node.js"),
  ]);
  const { model, wasm, ...rest } = JSON.parse(request);
  allowRelaxed();
  const answer = await complete(loadModel, { ...rest, model: pathToFileURL(model), wasm: wasm && pathToFileURL(wasm) });
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

if (globalThis.process?.argv[1]?.endsWith("complete.mjs")) await main(process.argv[2]);
