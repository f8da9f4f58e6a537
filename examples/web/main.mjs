// The demo page: wires the controls to one model at a time.
import { PagelmError, detectBuild, loadModel } from "../../bindings/js/pagelm.js";
import { Bars, Readings, describe, setSelectable } from "./view.mjs";
import { Sorter } from "./sorter.mjs";

const $ = (id) => document.getElementById(id);
const RANGES = ["temperature", "topK", "topP", "minP", "repetitionPenalty", "maxTokens"];
const READING_PACE = 45; // milliseconds per token

const bars = new Bars($("bars"));
const readings = new Readings($);
const sorter = new Sorter($);

let choices = [];
let choice;
let model;
let loading; // AbortController of the load under way
let writing; // AbortController of the text under way

async function main() {
  for (const id of RANGES) {
    const show = () => ($(id).parentElement.querySelector("output").value = $(id).value);
    $(id).addEventListener("input", show);
    show();
  }
  $("sampling").open = matchMedia("(min-width: 56rem)").matches;
  $("dice").addEventListener("click", () => ($("seed").value = Math.floor(Math.random() * 1e6)));
  $("model").addEventListener("change", () => load($("model").value));
  $("form").addEventListener("submit", (event) => (event.preventDefault(), write()));
  $("stop").addEventListener("click", () => writing?.abort());
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) write();
  });
  document.addEventListener("keydown", (event) => event.key === "Escape" && writing?.abort());
  try {
    choices = await (await fetch("models.json")).json();
  } catch (error) {
    return complain(error);
  }
  $("model").replaceChildren(...choices.map(({ id, name }) => new Option(name, id)));
  await load(choices[0].id);
}

async function load(id) {
  writing?.abort();
  writing = null; // what it still has to say is of the model before
  loading?.abort();
  const mine = (loading = new AbortController());
  choice = choices.find((it) => it.id === id);
  model?.dispose();
  model = null;
  complain(null);
  showChoice();
  setSelectable($, { ready: false, busy: false });
  $("load").hidden = false;
  try {
    const url = new URL(choice.file, document.baseURI);
    const loaded = await loadModel(url, { onProgress: showProgress, signal: mine.signal });
    if (loading !== mine) return loaded.dispose();
    model = loaded;
    readings.model(model, detectBuild());
    setSelectable($, { ready: true, busy: false });
    $("status").textContent = `${choice.name} is ready.`;
  } catch (error) {
    if (!mine.signal.aborted) complain(error);
  } finally {
    if (loading === mine) $("load").hidden = true;
  }
}

function showProgress({ loaded, total, phase }) {
  const bar = $("load-bar");
  if (total) bar.max = total;
  bar.value = loaded;
  const kib = (n) => Math.round(n / 1024).toLocaleString();
  $("load-text").textContent = phase === "ready" ? "Ready" : `${kib(loaded)} of ${total ? kib(total) : "?"} KiB`;
}

function showChoice() {
  const sort = choice.kind === "sort";
  $("model-note").textContent = choice.note;
  for (const id of ["text-mode", "text", "sampling"]) $(id).hidden = sort;
  for (const id of ["sort-mode", "sorted"]) $(id).hidden = !sort;
  $("write").textContent = sort ? "Sort" : "Generate";
  $("text").replaceChildren();
  $("text").classList.remove("busy");
  $("ended").textContent = "";
  bars.clear(sort ? 3 : 10);
  readings.clear();
  if (sort) return sorter.shuffle();
  $("prompt").value = choice.prompts[0];
  $("prompts").replaceChildren(...choice.prompts.map(promptButton));
}

function promptButton(text) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.addEventListener("click", () => {
    $("prompt").value = text;
    write();
  });
  return button;
}

function settings() {
  const number = (id) => Number($(id).value);
  const ranges = Object.fromEntries(RANGES.map((id) => [id, number(id)]));
  return { ...choice.options, ...ranges, seed: Math.max(0, Math.floor(number("seed"))) };
}

async function write() {
  if (!model) return;
  writing?.abort();
  const mine = (writing = new AbortController());
  complain(null);
  setSelectable($, { ready: true, busy: true });
  $("status").textContent = "Writing.";
  $("ended").textContent = "";
  try {
    if (choice.kind === "sort") await sort(mine.signal);
    else await writeText(mine.signal);
  } catch (error) {
    if (!mine.signal.aborted) complain(error);
    else if (writing === mine) finish("Stopped.");
  } finally {
    if (writing === mine) {
      writing = null;
      $("text").classList.remove("busy");
      setSelectable($, { ready: Boolean(model), busy: false });
    }
  }
}

async function writeText(signal) {
  const prompt = $("prompt").value;
  const given = Object.assign(document.createElement("span"), { className: "given", textContent: prompt });
  const written = document.createTextNode("");
  const sheet = $("text");
  sheet.replaceChildren(given, written);
  sheet.classList.add("busy");
  readings.start(model.tokenize(prompt).length);
  const onToken = (id) => {
    readings.token();
    bars.show(model, id);
  };
  for await (const text of model.generate(prompt, { ...settings(), signal, onToken })) {
    written.appendData(text);
    if ($("pace").checked) await delay(READING_PACE, signal);
  }
  // Only an end that the model chose has probabilities of its own.
  if (model.finish === "stop") bars.show(model, model.info.eos);
  finish(describe(model.finish));
}

async function sort(signal) {
  const digits = sorter.read();
  const sorted = [];
  sorter.show(sorted);
  readings.start(digits.length);
  const onToken = (id) => {
    readings.token();
    bars.show(model, id);
  };
  for await (const id of model.generateIds(digits, { maxTokens: digits.length, signal, onToken })) {
    sorted.push(id);
    sorter.show(sorted);
    if ($("pace").checked) await delay(4 * READING_PACE, signal);
  }
  finish(sorter.verdict(sorted));
}

function finish(text) {
  bars.flush();
  readings.flush();
  $("ended").textContent = choice.kind === "sort" ? "" : text;
  $("status").textContent = `${text} ${readings.summary()}`;
}

function delay(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    const done = () => (signal.removeEventListener("abort", stop), resolve());
    signal.addEventListener("abort", stop, { once: true });
    setTimeout(done, ms);
  });
}

// Shows an error in words, or takes the last one away.
function complain(error) {
  const box = $("alert");
  box.hidden = !error;
  if (!error) return;
  box.textContent = error instanceof PagelmError ? `${error.message} (${error.code})` : error.message;
  if (!(error instanceof PagelmError || error instanceof RangeError)) console.error(error);
}

main();
