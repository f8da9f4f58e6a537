// A module worker of the page's own that uses the loader alone.
import { loadModel } from "./pagelm/pagelm.js";
import { check } from "./check.mjs";

onmessage = async ({ data }) => postMessage(await check(loadModel, data).catch((error) => ({ error: String(error.stack) })));
