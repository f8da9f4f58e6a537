// The server drops each first connection at 80 % of the file.
import { loadModel } from "./pagelm/index.js";
import { answer, check } from "./check.mjs";

answer(async () => {
  const resumed = [];
  const load = async (...args) => {
    const model = await loadModel(...args);
    resumed.push(model.download.resumed);
    return model;
  };
  return { ...(await check(load, new URL("models/", location.href))), resumed };
});
