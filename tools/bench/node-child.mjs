// node node-child.mjs JOB MODELS: one run in a Node.js process of its own; prints the result as JSON.
import { readFile } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { runJob } from "./protocol.mjs";

const [job, models] = [JSON.parse(process.argv[2]), process.argv[3]];
const files = {
  engine: (path) => pathToFileURL(fileURLToPath(new URL(`../../${path}`, import.meta.url))),
  model: (path) => `${models}/${path}`,
  async bytes(path) {
    const { buffer, byteOffset, byteLength } = await readFile(`${models}/${path}`);
    return buffer.slice(byteOffset, byteOffset + byteLength);
  },
};
const result = await runJob(job, files);
process.stdout.write(`\n@@${JSON.stringify(result)}\n`);
process.exit(0); // whatever an engine still keeps open
