// A page in a real browser: opens it, waits for what it leaves in `globalThis.answer`, takes a picture.
import { spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

import puppeteer from "puppeteer-core";

import { withPage } from "../browser.mjs";

const PATIENCE = 240_000;
const VIEW = { width: 900, height: 620 };

/** Asks again and again; a page's policy forbids what a browser driver's own waiting compiles. */
export async function until(what, ask) {
  for (const end = Date.now() + PATIENCE; Date.now() < end; await pause(60)) {
    const found = await ask();
    if (found) return found;
  }
  throw new Error(`${what}: not within ${PATIENCE / 1000} s`);
}

async function visit(page, address, shot) {
  await page.setViewport(VIEW);
  await page.goto(address);
  const answer = await until("the page's answer", () => page.evaluate(() => globalThis.answer ?? null));
  if (shot) await page.screenshot({ path: shot });
  return answer;
}

export const inChromium = (address, shot) => withPage((page) => visit(page, address, shot), "chromium");
export const inFirefox = (address, shot) => withPage((page) => visit(page, address, shot), "firefox");

/** An unpacked extension: its page and, by a message, its service worker. */
export async function withExtension(folder, shot) {
  const browser = await puppeteer.launch({
    executablePath: process.env.PAGELM_CHROMIUM || "/usr/bin/chromium",
    headless: true,
    pipe: true,
    enableExtensions: [folder],
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
  });
  try {
    const worker = await browser.waitForTarget((target) => target.type() === "service_worker" && target.url().startsWith("chrome-extension:"));
    return await visit(await browser.newPage(), new URL("page.html", worker.url()).href, shot);
  } finally {
    await browser.close();
  }
}

const freePort = () => new Promise((done) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    server.close(() => done(port));
  });
});

/** WebKitGTK's MiniBrowser through its WebDriver. Both end with the session. */
export async function inWebKit(address, shot) {
  const port = await freePort(), binary = process.env.PAGELM_MINIBROWSER;
  if (!existsSync(binary ?? "")) throw new Error("PAGELM_MINIBROWSER names no MiniBrowser");
  // A group of its own, so that the display server goes with the driver.
  const driver = spawn("xvfb-run", ["-a", "WebKitWebDriver", `--port=${port}`, "--host=127.0.0.1"], { stdio: "ignore", detached: true });
  const ask = async (method, path, body) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, body: body && JSON.stringify(body) });
    const { value } = await response.json();
    if (value?.error) throw new Error(`${path}: ${value.error}: ${value.message}`);
    return value;
  };
  try {
    await until("WebKitWebDriver", () => ask("GET", "/status").then((status) => status.ready, () => false));
    const capabilities = { alwaysMatch: { browserName: "MiniBrowser", "webkitgtk:browserOptions": { binary, args: ["--automation"] } } };
    const session = `/session/${(await ask("POST", "/session", { capabilities })).sessionId}`;
    try {
      await ask("POST", `${session}/url`, { url: address });
      const script = "return JSON.stringify(globalThis.answer ?? null)";
      const answer = await until("the page's answer", async () => JSON.parse(await ask("POST", `${session}/execute/sync`, { script, args: [] })));
      if (shot) writeFileSync(shot, Buffer.from(await ask("GET", `${session}/screenshot`), "base64"));
      return answer;
    } finally {
      await ask("DELETE", session).catch(() => {});
    }
  } finally {
    process.kill(-driver.pid);
  }
}
