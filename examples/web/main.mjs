// The demo page: wires the controls to one model, or to two that write side by side.
import { PagelmError, detectBuild } from "../../bindings/js/index.js";
import { sameText } from "./fingerprint.mjs";
import { insideOf } from "./inside.mjs";
import { SpeedPlot } from "./plot.mjs";
import { Sorter } from "./sorter.mjs";
import { Bars, Readings, describe, setSelectable, textOf } from "./view.mjs";
import { Voice } from "./voice.mjs";

const $ = (id) => document.getElementById(id);
const RANGES = ["temperature", "topK", "topP", "minP", "repetitionPenalty", "maxTokens"];
const READING_PACE = 45; // milliseconds per token
const NONE = "none";

const bars = new Bars($("bars"));
const readings = new Readings($);
const sorter = new Sorter($);
const plot = new SpeedPlot($("plot"));
const first = new Voice({ sheet: $("text"), bar: $("load") });
const second = new Voice({ sheet: $("text2"), bar: $("load2") });

let choices = [];
let inside; // the view of the first model
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
  $("model2").addEventListener("change", () => loadSecond($("model2").value));
  $("layer").addEventListener("change", () => ((inside.layer = Number($("layer").value)), inside.draw()));
  $("form").addEventListener("submit", (event) => (event.preventDefault(), write()));
  $("stop").addEventListener("click", () => writing?.abort());
  $("check").addEventListener("click", check);
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) write();
  });
  document.addEventListener("keydown", (event) => event.key === "Escape" && writing?.abort());
  addEventListener("resize", () => inside?.draw());
  try {
    choices = await (await fetch("models.json")).json();
  } catch (error) {
    return complain(error);
  }
  $("model").replaceChildren(...choices.map(optionOf));
  $("model2").replaceChildren(new Option("no second model", NONE), ...choices.filter(({ kind }) => kind === "text").map(optionOf));
  await load(choices[0].id);
  keepForLater();
}

const optionOf = ({ id, name, size }) => new Option(`${name}, ${size < 1e6 ? `${Math.round(size / 1e3)} KB` : `${(size / 1e6).toFixed(1)} MB`}`, id);
const choiceOf = (id) => choices.find((it) => it.id === id);

async function load(id) {
  // What the text under way still has to say is of the model before.
  writing?.abort();
  writing = null;
  complain(null);
  setSelectable($, { ready: false, busy: false });
  inside = null;
  showChoice(choiceOf(id));
  try {
    if (!(await first.load(choiceOf(id)))) return;
    readings.model(first.model, detectBuild());
    showInside();
    setSelectable($, { ready: true, busy: false });
    $("status").textContent = `${first.choice.name} is ready.`;
  } catch (error) {
    complain(error);
  }
}

async function loadSecond(id) {
  writing?.abort();
  $("second").hidden = $("name1").hidden = id === NONE;
  $("sheets").classList.toggle("two", id !== NONE);
  if (id === NONE) return second.dispose();
  $("name2").textContent = choiceOf(id).name;
  setSelectable($, { ready: false, busy: false });
  try {
    if (!(await second.load(choiceOf(id)))) return;
    $("status").textContent = `${second.choice.name} is ready beside it.`;
  } catch (error) {
    $("model2").value = NONE;
    await loadSecond(NONE);
    complain(error);
  }
  setSelectable($, { ready: Boolean(first.model), busy: false });
}

function showChoice(choice) {
  const sort = choice.kind === "sort";
  $("model-note").textContent = choice.note;
  $("name1").textContent = choice.name;
  for (const id of ["text-mode", "sheets", "sampling", "beside", "same", "plot"]) $(id).hidden = sort;
  for (const id of ["sort-mode", "sorted"]) $(id).hidden = !sort;
  $("write").textContent = sort ? "Sort" : "Generate";
  for (const id of ["ended", "hash", "command", "check-says"]) $(id).textContent = "";
  $("check").hidden = !choice.check;
  second.clear();
  bars.clear(sort ? 3 : 10);
  readings.clear();
  plot.clear();
  for (const [id, value] of Object.entries(choice.defaults ?? {})) set(id, value);
  if (sort) return sorter.shuffle();
  $("prompt").value = choice.prompts[0];
  $("prompts").replaceChildren(...choice.prompts.map(promptButton));
}

function set(id, value) {
  $(id).value = value;
  $(id).dispatchEvent(new Event("input"));
}

function showInside() {
  inside = insideOf(first.model, $("inside"));
  const transformer = first.model.info.heads > 0;
  $("layer").replaceChildren(...Array.from({ length: first.model.info.layers }, (_, i) => new Option(i + 1, i)));
  $("layer").hidden = $("layer-label").hidden = first.model.info.layers < 2;
  $("inside-note").textContent = transformer
    ? "Attention: each row is a token, each cell a token before it. The darker, the more the model takes from there."
    : "State: each column is a token, each row one number that the network carries on. Red is above zero, dark below.";
  inside.clear();
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
  return { ...ranges, seed: Math.max(0, Math.floor(number("seed"))) };
}

/** Does some work of the first model with the buttons as they should be, and every error in words. */
async function working(says, work) {
  if (!first.model) return;
  writing?.abort();
  const mine = (writing = new AbortController());
  complain(null);
  setSelectable($, { ready: true, busy: true });
  $("status").textContent = says;
  $("ended").textContent = "";
  try {
    await work(mine.signal);
  } catch (error) {
    if (!mine.signal.aborted) complain(error);
    else if (writing === mine) finish("Stopped.");
  } finally {
    if (writing === mine) {
      writing = null;
      setSelectable($, { ready: Boolean(first.model), busy: false });
    }
  }
}

const write = () => working("Writing.", first.choice?.kind === "sort" ? sort : writeText);

async function writeText(signal) {
  const prompt = $("prompt").value;
  const voices = second.model ? [first, second] : [first];
  const model = first.model;
  readings.start(voices, model.tokenize(prompt).length);
  plot.clear(voices.length);
  inside.clear();
  showCommand(prompt);
  const options = { ...settings(), signal };
  const told = (voice, i) => (id, ms) => {
    if (voice.fingerprint.count > 1) plot.token(i, ms);
    readings.token();
    if (i) return;
    inside.read(textOf(model, id));
    bars.show(model, id);
  };
  // Token by token, turn by turn: two models do not disturb each other's clocks.
  let turns = voices.map((voice, i) => voice.write(prompt, options, told(voice, i)));
  try {
    while (turns.length) {
      const ends = [];
      for (const turn of turns) ends.push((await turn.next()).done);
      turns = turns.filter((_, i) => !ends[i]);
      if ($("pace").checked) await delay(READING_PACE, signal);
    }
  } finally {
    for (const turn of turns) await turn.return();
  }
  // Only an end that the model chose has probabilities of its own.
  if (model.finish === "stop") bars.show(model, model.info.eos);
  finish(describe(model.finish));
}

async function sort(signal) {
  const digits = sorter.read();
  const model = first.model;
  const sorted = [];
  sorter.show(sorted);
  inside.clear();
  readings.start([], 0);
  // Digit by digit, so that the picture has a row for each.
  for (const [i, digit] of digits.entries()) {
    await model.feed([digit], { keep: i > 0, signal });
    inside.read(String(digit));
    if ($("pace").checked) await delay(2 * READING_PACE, signal);
  }
  for await (const id of model.generateIds([], { keep: true, temperature: 0, maxTokens: digits.length, signal })) {
    if (sorted.length) inside.read(String(sorted.at(-1)));
    sorted.push(id);
    bars.show(model, id);
    sorter.show(sorted);
    if ($("pace").checked) await delay(4 * READING_PACE, signal);
  }
  finish(sorter.verdict(sorted));
}

/** Has this browser write what others wrote. */
async function check() {
  await working("Checking.", async (signal) => {
    const { tokens, hash } = first.choice.check;
    const { hash: got, same } = await sameText(first.model, first.choice.check, signal);
    $("check-says").textContent = same
      ? `This browser writes the same ${tokens} tokens as all others: ${got}.`
      : `This browser wrote ${got}; the others write ${hash}. Please report it.`;
  });
}

function showCommand(prompt) {
  const { temperature, topK, topP, minP, repetitionPenalty, maxTokens, seed } = settings();
  const quoted = `'${prompt.replaceAll("'", "'\\''")}'`;
  const flags = [["--tokens", maxTokens], ["--temperature", temperature], ["--top-k", topK], ["--top-p", topP], ["--min-p", minP],
    ["--repetition-penalty", repetitionPenalty], ["--seed", seed]].map((pair) => pair.join(" "));
  if (first.choice.options?.ignoreEos) flags.push("--ignore-eos");
  $("command").textContent = `pagelm generate ${first.choice.file.split("/").at(-1)} --prompt ${quoted} ${flags.join(" ")} --json`;
}

function finish(text) {
  const sort = first.choice.kind === "sort";
  bars.flush();
  readings.flush();
  plot.draw();
  inside?.draw();
  $("hash").textContent = sort ? "" : String(first.fingerprint);
  $("ended").textContent = sort ? "" : text;
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

/** From now on the page opens without a network, too. Where that cannot be, it works as before. */
async function keepForLater() {
  try {
    await navigator.serviceWorker.register("sw.js");
    const { active } = await navigator.serviceWorker.ready;
    active.postMessage([location.href, ...performance.getEntriesByType("resource").map(({ name }) => name)]);
  } catch (error) {
    console.info(`not kept for offline use: ${error?.message}`);
  }
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
