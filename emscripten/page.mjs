// The page's side of page.cpp: fetches a model, and lets the engine work in slices short enough that
// the page answers at once.
import createEngine from "./build/engine.mjs";

const TOKEN = 1;
const FINISHED = 3;
/** Milliseconds that the engine may keep the thread. */
const SLICE = 10;
/** The folder of the models; `?models=` names another. */
const MODELS = new URL(new URLSearchParams(location.search).get("models") ?? "../examples/models/", location.href);

const $ = (id) => document.getElementById(id);
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const pause = () => new Promise((resolve) => setTimeout(resolve));

let engine;
/** What goes on, a load or a text, so that it can be ended. */
let work;
/** The engine's units of work that filled the last slice well. */
let budget = 16;

/** Calls a function of page.cpp; a failure becomes an Error with its sentence. */
function call(name, numbers = []) {
  const status = engine.ccall(name, "number", numbers.map(() => "number"), numbers);
  if (status < 0) throw new Error(engine.ccall("answer", "string"));
  return status;
}

async function load(name, signal) {
  const response = await fetch(new URL(name, MODELS), { signal });
  if (!response.ok) throw new Error(`${name}: the server says ${response.status} ${response.statusText}`.trim());
  const reader = response.body.getReader();
  engine.ccall("load_begin");
  let received = 0;
  for (let part; !(part = await reader.read()).done; ) {
    engine.part = part.value;
    try {
      call("load_part", [part.value.length]);
    } catch (error) {
      reader.cancel();
      throw new Error(`${name}: ${error.message}`);
    }
    received += part.value.length;
    showProgress(received, engine.ccall("load_size", "number"));
  }
  engine.part = null;
  call("load_end");
}

function showProgress(received, size) {
  if (size) $("bar").max = size;
  if (size) $("bar").value = Math.min(received, size);
  $("loaded").textContent = size ? `${megabytes(received)} of ${megabytes(size)}` : megabytes(received);
}

/** Writes until the text ends; gives the number of tokens. */
async function write(signal) {
  const number = (id) => $(id).valueAsNumber;
  const options = [number("tokens"), number("temperature"), number("seed")];
  if (options.some((option) => !(option >= 0))) throw new Error("Tokens, temperature and seed must be numbers.");
  $("given").textContent = $("prompt").value;
  $("text").textContent = "";
  engine.part = new TextEncoder().encode($("prompt").value);
  call("begin", [engine.part.length, ...options]);
  let tokens = 0;
  for (let status = 0; status !== FINISHED && !signal.aborted; await pause()) {
    for (const end = performance.now() + SLICE; performance.now() < end && status !== FINISHED; ) {
      const start = performance.now();
      status = call("step", [budget]);
      budget = fitted(performance.now() - start);
      if (status === TOKEN) tokens++;
      if (status === TOKEN || status === FINISHED) $("text").append(engine.ccall("answer", "string"));
    }
  }
  return tokens;
}

/** The budget for the next step, after one that took so many milliseconds. */
function fitted(took) {
  if (took > SLICE) return Math.max(1, Math.floor(budget / 2));
  return took < SLICE / 4 ? Math.min(budget * 2, 1 << 20) : budget;
}

/** Does one thing at a time, with the controls to match, and shows what goes wrong. */
async function run(what) {
  work = new AbortController();
  show(true);
  $("alert").hidden = true;
  try {
    return await what(work.signal);
  } catch (error) {
    if (error.name === "AbortError") return void ($("status").textContent = "Stopped.");
    $("alert").textContent = error.message;
    $("alert").hidden = false;
    $("status").textContent = "";
  } finally {
    work = null;
    show(false);
  }
}

let ready = false;

function show(busy) {
  $("load").disabled = busy;
  $("model").disabled = busy;
  $("write").disabled = busy || !ready;
  $("stop").disabled = !busy;
}

async function onLoad() {
  ready = false;
  $("given").textContent = $("text").textContent = "";
  $("loading").hidden = false;
  $("bar").removeAttribute("value");
  $("loaded").textContent = "";
  await run(async (signal) => {
    $("status").textContent = "Loading ...";
    engine ??= await createEngine();
    await load($("model").value, signal);
    ready = true;
    $("status").textContent = "Ready.";
  });
  $("loading").hidden = true;
}

async function onWrite(event) {
  event.preventDefault();
  await run(async (signal) => {
    $("status").textContent = "Writing ...";
    const start = performance.now();
    const tokens = await write(signal);
    const seconds = (performance.now() - start) / 1000;
    const hash = engine.ccall("token_hash", "string");
    $("status").dataset.hash = hash;
    const speed = `${tokens} tokens in ${seconds.toFixed(1)} s, hash ${hash}`;
    $("status").textContent = `${signal.aborted ? "Stopped: " : ""}${speed}`;
  });
}

$("load").addEventListener("click", onLoad);
$("form").addEventListener("submit", onWrite);
$("stop").addEventListener("click", () => work?.abort());
onLoad();
