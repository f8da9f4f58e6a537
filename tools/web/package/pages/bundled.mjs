// What a bundler is given.
import { detectBuild, loadModel } from "pagelm";
import "pagelm/element";
import { answer, check } from "./check.mjs";

const models = new URL("models/", location.href);

answer(async () => ({
  build: detectBuild(),
  element: typeof customElements.get("pagelm-text"),
  ...(await check(loadModel, models)),
  worker: await check(loadModel, models, { where: "worker" }),
}));
