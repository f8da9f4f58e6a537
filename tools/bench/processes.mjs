// What Linux tells about processes: whose the processor's time was, and how much memory they had at most.
import { readFileSync, readdirSync } from "node:fs";

const TICKS = 100; // a second, on every Linux there is

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // not Linux, or the process has just ended
  }
}

/** Every process below this one: { pid, parent, seconds, command }; its ended children's time is in `seconds`. */
function descendants() {
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map((pid) => {
    const fields = read(`/proc/${pid}/stat`).split(") ").at(-1).split(" ");
    const seconds = fields.slice(11, 15).reduce((sum, ticks) => sum + +ticks, 0) / TICKS;
    return { pid: +pid, parent: +fields[1], seconds };
  });
  const own = new Set([process.pid]);
  for (let before = 0; before !== own.size; ) {
    before = own.size;
    for (const { pid, parent } of all) if (own.has(parent)) own.add(pid);
  }
  return all.filter(({ pid }) => own.has(pid));
}

function busySeconds() {
  const [user, nice, system, , , interrupt, soft] = read("/proc/stat").split("\n")[0].split(/\s+/).slice(1).map(Number);
  return (user + nice + system + interrupt + soft) / TICKS;
}

function snapshot() {
  const own = descendants().reduce((sum, { seconds }) => sum + seconds, 0);
  return { time: performance.now() / 1000, busy: busySeconds(), own };
}

/** Returns a function that tells how many cores others kept busy since. */
export function watchOthers() {
  if (!read("/proc/stat")) return () => null;
  const begin = snapshot();
  return () => {
    const end = snapshot();
    const others = end.busy - begin.busy - (end.own - begin.own);
    return Math.max(0, others / (end.time - begin.time));
  };
}

/** MB that the largest process below this one whose command line holds `text` had at most. */
export function peakMemory(text) {
  const peaks = descendants().filter(({ pid }) => read(`/proc/${pid}/cmdline`).includes(text))
    .map(({ pid }) => +(/VmHWM:\s+(\d+)/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) / 1024);
  return Math.max(0, ...peaks) || null;
}

/** Waits until the machine is quiet, at most `seconds`. */
export async function quiet(seconds) {
  for (let i = 0; i < seconds * 2; i++) {
    const others = watchOthers();
    await new Promise((resolve) => setTimeout(resolve, 500));
    if (!(others() > 0.2)) return;
  }
}
