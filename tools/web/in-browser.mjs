// node in-browser.mjs ADDRESS tests|complete ARGUMENT
//
// Opens blank.html from the server at ADDRESS in the browser of PAGELM_BROWSER
// with the query `?tests=ARGUMENT` or `?complete=ARGUMENT`, and prints the
// page's answer as JSON.
import { setTimeout } from "node:timers/promises";

import { withPage } from "./browser.mjs";

const [address, what, argument] = process.argv.slice(2);
const query = new URLSearchParams({ [what]: argument });

const answer = await withPage(async (page) => {
  await page.goto(`${address}/tools/web/blank.html?${query}`);
  // Asked from here: the page's policy forbids what waitForFunction compiles.
  for (const end = Date.now() + 240_000; Date.now() < end; await setTimeout(50)) {
    const answer = await page.evaluate(() => globalThis.answer ?? null);
    if (answer) return answer;
  }
  throw new Error("the page gave no answer in 240 s");
});
if (answer.error) throw new Error(answer.error);
process.stdout.write(`${JSON.stringify(answer.value)}\n`);
