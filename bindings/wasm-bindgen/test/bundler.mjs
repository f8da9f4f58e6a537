// node --experimental-wasm-modules bundler.mjs FOLDER-OF-MODELS
//
// The form for bundlers: its module imports the wasm as if it were JavaScript.
import { readFile } from "node:fs/promises";

import { loadModel } from "../pkg-bundler/pagelm.js";

const model = await loadModel(await readFile(`${process.argv[2]}/gpt2-basic-lexicon.gguf`));
const { text, ids } = await model.complete("The ", { maxTokens: 64 });
process.stdout.write(`${JSON.stringify({ text, ids })}\n`);
