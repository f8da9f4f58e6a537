// No bundler: the package's folder lies beside the page.
import "./pagelm/element.js";
import { clearCache, detectBuild, loadModel } from "./pagelm/index.js";
import { loadModel as loadByCore } from "./pagelm/pagelm.js";
import { answer, check } from "./check.mjs";

const models = new URL("models/", location.href);

/** The element's text with the same settings as the greedy check's. */
function byElement() {
  const it = document.createElement("pagelm-text");
  const attributes = { src: "models/gpt2-basic-lexicon.gguf", prompt: "The ", temperature: 0, "top-p": 0, "max-tokens": 64 };
  for (const [name, value] of Object.entries(attributes)) it.setAttribute(name, value);
  document.body.append(it);
  return it.generate();
}

async function stored() {
  const from = [];
  await clearCache();
  for (let visit = 0; visit < 2; visit++) {
    const { download } = await loadModel("models/gpt2-basic-bytes.gguf", { cache: true });
    from.push(download.problem ?? download.from);
  }
  return from;
}

answer(async () => {
  const result = await check(loadModel, models);
  return {
    ...result,
    build: detectBuild(),
    shared: typeof SharedArrayBuffer,
    core: await check(loadByCore, models),
    worker: await check(loadModel, models, { where: "worker" }),
    element: (await byElement()) === result.text,
    stored: await stored(),
  };
});
