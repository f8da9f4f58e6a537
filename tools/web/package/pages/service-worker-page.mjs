import { answer } from "./check.mjs";

answer(async () => {
  const controlled = new Promise((go) => navigator.serviceWorker.addEventListener("controllerchange", go, { once: true }));
  await navigator.serviceWorker.register("./service-worker.mjs", { type: "module" });
  if (!navigator.serviceWorker.controller) await controlled;
  return (await fetch("./write")).json();
});
