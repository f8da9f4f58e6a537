// The extension's service worker: it writes when its page asks.
import { loadModel } from "./pagelm/index.js";
import { check } from "./check.mjs";

chrome.runtime.onMessage.addListener((message, sender, reply) => {
  check(loadModel, chrome.runtime.getURL("models/")).then(reply, (error) => reply({ error: String(error.stack) }));
  return true; // the reply comes later
});
