// Node.js, from the installed package.
import { loadModel } from "pagelm";
import { loadModel as loadByCore } from "pagelm/core";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { check } from "./check.mjs";

const models = new URL("../models/", import.meta.url);
const wasm = readFileSync(fileURLToPath(import.meta.resolve("pagelm/pagelm.wasm")));
const core = (url, options) => loadByCore(readFileSync(url), { ...options, wasm });
const result = { core: await check(core, models), ...(await check(loadModel, models)), worker: await check(loadModel, models, { where: "worker" }) };
process.stdout.write(JSON.stringify(result));
