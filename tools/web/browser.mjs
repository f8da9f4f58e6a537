// Headless browsers for tests and screenshots.
//
// PAGELM_BROWSER is chromium (default) or firefox; PAGELM_CHROMIUM and
// PAGELM_FIREFOX name the programs, which `cargo xtask` sets.
import puppeteer from "puppeteer-core";

const PLACES = {
  chromium: ["PAGELM_CHROMIUM", "/usr/bin/chromium"],
  firefox: ["PAGELM_FIREFOX", "/usr/bin/firefox-esr"],
};

export const browserName = () => process.env.PAGELM_BROWSER || "chromium";

/** Starts the browser and gives `use` a page; closes it whatever happens. `options` are puppeteer's. */
export async function withPage(use, name = browserName(), options = {}) {
  const place = PLACES[name];
  if (!place) throw new Error(`PAGELM_BROWSER is "${name}", which is neither chromium nor firefox`);
  const [variable, usual] = place;
  // Chromium's own sandbox does not start as root, the usual user of a container.
  const args = name === "chromium" && process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  const browser = await puppeteer.launch({
    browser: name === "firefox" ? "firefox" : "chrome",
    executablePath: process.env[variable] || usual,
    headless: true,
    ...options,
    args: [...args, ...(options.args ?? [])],
  });
  try {
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error(`page error: ${error?.message ?? error}`));
    return await use(page, browser);
  } finally {
    await browser.close();
  }
}
