// One model and the sheet of paper it writes on.
import { loadModel } from "../../bindings/js/index.js";
import { Fingerprint } from "./fingerprint.mjs";

export class Voice {
  /** What it loads, from models.json; undefined: nothing. */
  choice;
  model;
  fingerprint = new Fingerprint();
  /** Milliseconds of work for the prompt and the first token, and for all tokens after it. */
  first = 0;
  rest = 0;
  #sheet;
  #bar;
  #loading;

  /** `sheet` takes the text, `bar` shows the loading: a progress element and its words. */
  constructor({ sheet, bar }) {
    this.#sheet = sheet;
    this.#bar = bar;
  }

  /** Loads a model in the place of the one before. False if a later call overtook this one. */
  async load(choice) {
    this.dispose();
    this.choice = choice;
    const mine = (this.#loading = new AbortController());
    this.#bar.hidden = false;
    try {
      const url = new URL(choice.file, document.baseURI);
      const model = await loadModel(url, {
        attention: choice.inside === "attention", signal: mine.signal, onProgress: (it) => this.#progress(it),
      });
      if (this.#loading !== mine) {
        model.dispose();
        return false;
      }
      this.model = model;
      return true;
    } catch (error) {
      if (mine.signal.aborted) return false;
      throw error;
    } finally {
      if (this.#loading === mine) this.#bar.hidden = true;
    }
  }

  dispose() {
    this.#loading?.abort();
    this.#loading = null;
    this.model?.dispose();
    this.model = this.choice = null;
    this.clear();
  }

  #progress({ loaded, total, phase }) {
    const [bar, words] = this.#bar.children;
    if (total) bar.max = total;
    bar.value = loaded;
    const kib = (n) => Math.round(n / 1024).toLocaleString();
    words.textContent = phase === "ready" ? "Ready" : `${kib(loaded)} of ${total ? kib(total) : "?"} KiB`;
  }

  clear() {
    this.#sheet.replaceChildren();
    this.#sheet.classList.remove("busy");
  }

  /**
   * Writes a text, a token at each turn of this generator, so that two voices can take turns without
   * disturbing each other's clocks. `onToken(id, milliseconds)` comes after each.
   */
  async *write(prompt, options, onToken) {
    const given = Object.assign(document.createElement("span"), { className: "given", textContent: prompt });
    const written = document.createTextNode("");
    this.#sheet.replaceChildren(given, written);
    this.#sheet.classList.add("busy");
    this.fingerprint = new Fingerprint();
    this.first = this.rest = 0;
    let before = performance.now();
    let spent = 0;
    const note = (id) => {
      spent = performance.now() - before;
      if (this.fingerprint.count) this.rest += spent;
      else this.first = spent;
      this.fingerprint.add(id);
      onToken?.(id, spent);
    };
    try {
      for await (const text of this.model.generate(prompt, { ...this.choice.options, ...options, onToken: note })) {
        written.appendData(text);
        yield;
        before = performance.now();
      }
    } finally {
      this.#sheet.classList.remove("busy");
    }
  }

  /** Tokens a second after the first one, by the engine's own time. */
  get rate() {
    return this.fingerprint.count < 2 ? 0 : (1000 * (this.fingerprint.count - 1)) / Math.max(0.01, this.rest);
  }
}
