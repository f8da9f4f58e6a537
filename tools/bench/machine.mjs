// What a figure was measured on and with.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, release, totalmem, type } from "node:os";
import { promisify } from "node:util";

const exec = promisify(execFile);
const first = async (program, args) => {
  try {
    return (await exec(program, args)).stdout.trim().split("\n")[0];
  } catch {
    return "unknown";
  }
};

/** The instruction sets that matter to the kernels, of those the processor has. */
function features() {
  let flags = "";
  try {
    flags = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1] ?? "";
  } catch {
    // not Linux
  }
  const known = ["avx2", "avx512f", "avx512_vnni", "avx_vnni", "asimddp", "i8mm"];
  return known.filter((name) => flags.split(" ").includes(name)).join(", ");
}

function family() {
  try {
    const text = readFileSync("/proc/cpuinfo", "utf8");
    const [family, model] = ["cpu family", "model"].map((key) => new RegExp(`^${key}\\s*:\\s*(\\d+)`, "m").exec(text)?.[1]);
    return family ? ` family ${family} model ${model}` : "";
  } catch {
    return "";
  }
}

export async function machine({ chromium }) {
  const processors = cpus();
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: await first("git", ["describe", "--always", "--dirty"]),
    machine: `${processors.length} x ${processors[0].model.trim()}${family()} (${features()}), ${Math.round(totalmem() / 2 ** 30)} GiB, ${type()} ${release()}`,
    chromium: chromium ? await first(chromium, ["--version"]) : "none",
    node: `${process.version}, V8 ${process.versions.v8}`,
  };
}
