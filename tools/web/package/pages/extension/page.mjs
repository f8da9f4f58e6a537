import { loadModel } from "./pagelm/index.js";
import { answer, check } from "./check.mjs";

answer(async () => {
  const models = chrome.runtime.getURL("models/");
  const page = await check(loadModel, models);
  const worker = await check(loadModel, models, { where: "worker" });
  return { ...page, worker, background: await chrome.runtime.sendMessage("write") };
});
