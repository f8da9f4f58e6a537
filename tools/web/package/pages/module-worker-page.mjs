import { answer } from "./check.mjs";

answer(() => new Promise((done, failed) => {
  const worker = new Worker(new URL("./module-worker.mjs", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => done(data);
  worker.onerror = (event) => failed(new Error(event.message ?? "the worker did not start"));
  worker.postMessage(new URL("models/", location.href).href);
}));
