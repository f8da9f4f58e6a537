// `npm pack` without the engines would make a package that cannot run.
import { existsSync, readFileSync } from "node:fs";

const { exports } = JSON.parse(readFileSync("package.json"));
const missing = Object.keys(exports).filter((name) => name.endsWith(".wasm") && !existsSync(name));
if (missing.length) {
  console.error(`${missing.join(", ")} must be built first: cargo xtask wasm`);
  process.exit(1);
}
