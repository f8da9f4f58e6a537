// No bundler: the package's folder lies beside the page.
import { detectBuild, loadModel } from "./pagelm/index.js";
import { loadModel as loadByCore } from "./pagelm/pagelm.js";
import { answer, check } from "./check.mjs";

const models = new URL("models/", location.href);

answer(async () => ({
  build: detectBuild(),
  shared: typeof SharedArrayBuffer,
  core: await check(loadByCore, models),
  ...(await check(loadModel, models)),
  worker: await check(loadModel, models, { where: "worker" }),
}));
