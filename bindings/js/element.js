// <pagelm-text src="model.gguf">: a language model on a page without a line of code. Its attributes
// are described in element.d.ts and docs/JAVASCRIPT.md.
import { styled } from "./element-style.js";
import { loadModel } from "./index.js";

const SAMPLING = {
  "max-tokens": "maxTokens", temperature: "temperature", "top-k": "topK", "top-p": "topP", "min-p": "minP",
  "repetition-penalty": "repetitionPenalty", seed: "seed",
};
const DEFAULTS = { maxTokens: 100, temperature: 0.8, topP: 0.95 };
const ENDS = { stop: "The model ended the text", length: "As long as was asked for", context: "The model’s context is full" };
const SETTINGS = [
  ["temperature", "Temperature", { min: 0, max: 2, step: 0.05 }],
  ["max-tokens", "Tokens at most", { min: 1, max: 1000, step: 1 }],
  ["seed", "Seed (none: another text each time)", { min: 0, max: 2 ** 32, step: 1 }],
];

/** An element with these properties and children. */
function make(name, { part, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  if (part) element.setAttribute("part", part);
  element.append(...children);
  return element;
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

// A server that renders pages may import the module, too.
export class PagelmText extends (globalThis.HTMLElement ?? Object) {
  static observedAttributes = ["src", "prompt", "placeholder", "label", "rows", "disabled", "settings", "preload", ...Object.keys(SAMPLING)];

  #ui = null;
  #loading = null; // { promise, stop } of the model in use
  #model = null;
  #writing = null; // AbortController of the text in progress
  #written = "";

  /** The model, once it is loaded; else null. */
  get model() {
    return this.#model;
  }

  /** What stands in the prompt's field. */
  get value() {
    return this.#view().prompt.value;
  }
  set value(text) {
    this.#view().prompt.value = text;
  }

  /** What the model has written. */
  get text() {
    return this.#written;
  }

  /** A text is being written, or its model is being loaded. */
  get busy() {
    return this.#writing !== null;
  }

  connectedCallback() {
    this.#view();
    if (this.hasAttribute("autorun")) this.generate();
    else this.#preload();
  }

  disconnectedCallback() {
    // An element that was only moved is connected again by then.
    queueMicrotask(() => this.isConnected || this.#forget());
  }

  attributeChangedCallback(name, before, now) {
    const ui = this.#view();
    if (name === "src" && before !== null && before !== now) this.#forget();
    if (name === "src" || name === "preload") this.#preload();
    if (name === "prompt") ui.prompt.value = now ?? "";
    if (name === "placeholder") ui.prompt.placeholder = now ?? "";
    if (name === "label") ui.label.textContent = now ?? "Prompt";
    if (name === "rows") ui.prompt.rows = Number(now) || 2;
    if (name === "disabled") ui.prompt.disabled = ui.button.disabled = now !== null;
    if (name === "settings") ui.settings.hidden = now === null;
    if (name in ui.fields) ui.fields[name].value = this.getAttribute(name) ?? DEFAULTS[SAMPLING[name]] ?? "";
  }

  /** Loads the model, if it is not loaded yet. Rejects, after the element has told why, if that fails. */
  load() {
    if (!this.#loading) {
      const stop = new AbortController(), mine = (this.#loading = { stop, promise: this.#load(stop.signal) });
      mine.promise.catch(() => this.#loading === mine && (this.#loading = null));
    }
    return this.#loading.promise;
  }

  /** Writes on from the prompt. Gives the text; null if it was stopped or failed, as the element shows. */
  async generate(prompt = this.value) {
    if (this.#writing || this.hasAttribute("disabled")) return null;
    const stop = (this.#writing = new AbortController()), { signal } = stop;
    this.#ui.error.hidden = true;
    this.#show(prompt, "");
    this.#refresh();
    try {
      const model = await this.load().catch(() => null);
      if (!model) this.#ui.output.hidden = true;
      if (!model || signal.aborted) return null;
      let tokens = 0;
      this.#say("Writing…");
      for await (const piece of model.generate(prompt, { ...this.#options(), signal, onToken: () => tokens++ })) {
        this.#show(prompt, this.#written + piece);
        this.#tell("token", { text: piece });
      }
      this.#say(`${ENDS[model.finish]}: ${tokens} tokens.`);
      this.#tell("end", { text: this.#written, finish: model.finish });
      return this.#written;
    } catch (error) {
      if (signal.aborted) this.#say("Stopped.");
      else this.#fail(error, "The text could not be written.");
      return null;
    } finally {
      if (this.#writing === stop) this.#writing = null;
      this.#refresh();
    }
  }

  /** Stops the text, or the download that it waits for. */
  stop() {
    this.#writing?.abort();
    if (!this.#model) this.#loading?.stop.abort();
  }

  #preload() {
    if (this.isConnected && this.hasAttribute("preload") && this.hasAttribute("src")) this.load().catch(() => {});
  }

  async #load(signal) {
    const ui = this.#view(), src = this.getAttribute("src");
    try {
      if (!src) throw new Error("The attribute src is missing: it is the address of a model file.");
      ui.error.hidden = true;
      ui.load.hidden = false;
      ui.progress.removeAttribute("value");
      this.#say("Loading the model…");
      const model = await loadModel(new URL(src, this.baseURI), { ...this.#loadOptions(), signal, onProgress: (now) => this.#progress(now) });
      if (signal.aborted) model.dispose();
      signal.throwIfAborted();
      this.#model = model;
      this.#say("Ready.");
      this.#tell("load", { model });
      return model;
    } catch (error) {
      if (signal.aborted) this.#say("Stopped.");
      else this.#fail(error, "The model could not be loaded.");
      throw error;
    } finally {
      ui.load.hidden = true;
    }
  }

  #progress({ loaded, total }) {
    const { progress, amount } = this.#ui;
    if (total) progress.max = total;
    progress.value = loaded;
    amount.textContent = total ? `${megabytes(loaded)} of ${megabytes(total)}` : megabytes(loaded);
    this.#tell("progress", { loaded, total });
  }

  /** Of another model's time, and of an element that has left its page. */
  #forget() {
    this.#writing?.abort();
    this.#loading?.stop.abort();
    this.#model?.dispose();
    this.#loading = this.#model = null;
  }

  #loadOptions() {
    const given = (name) => this.getAttribute(name) ?? undefined, wasm = given("wasm");
    return {
      where: given("where"), cache: this.hasAttribute("cache"), integrity: given("integrity"), slide: this.hasAttribute("slide"),
      ...(this.hasAttribute("context-length") && { contextLength: Number(given("context-length")) }),
      ...(wasm && { wasm: new URL(wasm, this.baseURI) }),
    };
  }

  #options() {
    const options = { ...DEFAULTS, seed: Math.floor(Math.random() * 2 ** 32) };
    for (const [name, key] of Object.entries(SAMPLING)) {
      const text = this.#ui.fields[name]?.value ?? this.getAttribute(name) ?? "";
      if (text.trim() !== "") options[key] = Number(text);
    }
    if (this.hasAttribute("stop")) options.stop = this.getAttribute("stop").replaceAll("\\n", "\n");
    return options;
  }

  #fail(error, what) {
    const { error: box } = this.#ui;
    box.replaceChildren(make("strong", {}, what), make("span", {}, ` ${error.message}`), ...(error.advice ? [make("span", { part: "advice" }, error.advice)] : []));
    box.hidden = false;
    this.#say("");
    this.#tell("error", { error });
  }

  #say(text) {
    this.#ui.status.textContent = text;
  }

  #show(prompt, text) {
    const { output, echo, written } = this.#ui;
    this.#written = text;
    output.hidden = false;
    echo.textContent = prompt;
    written.textContent = text;
  }

  #refresh() {
    const { button, run, halt, output } = this.#ui, busy = this.busy;
    button.classList.toggle("busy", busy);
    [run.hidden, halt.hidden] = [busy, !busy];
    output.setAttribute("aria-busy", busy);
  }

  /** An event for the page: `pagelm-load`, `pagelm-progress`, `pagelm-token`, `pagelm-end`, `pagelm-error`. */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(`pagelm-${name}`, { detail, bubbles: true, composed: true }));
  }

  /** Builds what is seen, at the first use. */
  #view() {
    if (this.#ui) return this.#ui;
    const root = styled(this.attachShadow({ mode: "open", delegatesFocus: true }));
    const label = make("label", { part: "label", htmlFor: "prompt" }, "Prompt");
    const prompt = make("textarea", { part: "prompt", id: "prompt", rows: 2 });
    const run = make("slot", { name: "generate" }, "Generate"), halt = make("slot", { name: "stop", hidden: true }, "Stop");
    const button = make("button", { part: "button", type: "button" }, run, halt);
    const status = make("span", { part: "status", role: "status" });
    const progress = make("progress", { part: "progress", ariaLabel: "The model’s download" }), amount = make("span", { part: "amount" });
    const load = make("div", { part: "load", hidden: true }, progress, amount);
    const error = make("p", { part: "error", role: "alert", hidden: true });
    const echo = make("span", { part: "echo" }), written = make("span", { part: "text" });
    const output = make("div", { part: "output", id: "output", role: "group", ariaLabel: "The text", ariaLive: "polite", hidden: true }, echo, written);
    const fields = {}, settings = make("details", { part: "settings", hidden: true }, make("summary", {}, "Settings"));
    for (const [name, title, range] of SETTINGS) {
      fields[name] = make("input", { part: "setting", type: "number", id: name, value: DEFAULTS[SAMPLING[name]] ?? "", ...range });
      settings.append(make("label", { htmlFor: name }, title), fields[name]);
    }
    button.addEventListener("click", () => (this.busy ? this.stop() : this.generate()));
    root.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.generate();
      else if (event.key === "Escape" && this.busy) this.stop();
      else return;
      event.preventDefault();
    });
    root.append(label, prompt, make("div", { part: "controls" }, button, status), load, error, output, settings);
    return (this.#ui = { label, prompt, button, run, halt, status, progress, amount, load, error, echo, written, output, settings, fields });
  }
}

if (globalThis.customElements && !customElements.get("pagelm-text")) customElements.define("pagelm-text", PagelmText);
