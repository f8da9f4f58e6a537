// What the margin shows: probabilities as bars, and readings of speed and memory.

const FRAME = 80; // milliseconds between two redraws; faster is flicker
const MIB = 1 << 20;

/** The ten likeliest tokens, redrawn a few times a second while a text runs. */
export class Bars {
  #list;
  #rows;
  #shownAt = 0;
  #pending;

  constructor(list) {
    this.#list = list;
    this.#rows = Array.from({ length: 10 }, () => {
      const row = document.createElement("li");
      const piece = Object.assign(document.createElement("span"), { className: "piece" });
      const share = Object.assign(document.createElement("span"), { className: "share" });
      row.append(piece, share);
      return { row, piece, share };
    });
  }

  /** Empties the list, with room for so many rows. */
  clear(rows = 0) {
    this.#pending = null;
    this.#list.replaceChildren();
    this.#list.style.minHeight = `${1.875 * rows}rem`;
  }

  /** `id` is the token that was drawn from this distribution. */
  show(model, id) {
    const now = performance.now();
    this.#pending = () => this.#draw(model, id);
    if (now - this.#shownAt < FRAME) return;
    this.#shownAt = now;
    this.flush();
  }

  /** Draws what was put off. */
  flush() {
    this.#pending?.();
    this.#pending = null;
  }

  #draw(model, chosen) {
    const { ids, logprobs } = model.topLogprobs(Math.min(this.#rows.length, model.info.vocabSize));
    const rows = this.#rows.slice(0, ids.length);
    rows.forEach(({ row, piece, share }, i) => {
      const p = Math.exp(logprobs[i]);
      nameToken(piece, model, ids[i]);
      share.textContent = percent(p);
      row.classList.toggle("chosen", ids[i] === chosen);
      row.ariaCurrent = ids[i] === chosen ? "true" : null;
      row.style.setProperty("--share", p.toFixed(3));
    });
    if (this.#list.childElementCount !== rows.length) this.#list.replaceChildren(...rows.map(({ row }) => row));
  }
}

const percent = (p) => (p >= 0.0995 ? `${Math.round(100 * p)} %` : `${(100 * p).toFixed(1)} %`);

const NAMES = { "": "nothing", " ": "space", "\n": "new line", "\n\n": "two new lines", "\t": "tab", "\ufffd": "part of a character" };

/** A token's own text; a model without a tokenizer has numbers only. */
export const textOf = (model, id) => (model.info.tokenizer ? model.detokenize([id]) : String(id));

// Spaces and control characters get a name or a sign, so that every bar says something.
function nameToken(element, model, id) {
  const sign = (text) => Object.assign(document.createElement("i"), { textContent: text });
  if (id === model.info.eos) return element.replaceChildren(sign("end of the text"));
  const text = textOf(model, id);
  if (text in NAMES) return element.replaceChildren(sign(NAMES[text]));
  const spaced = text.startsWith(" ");
  element.replaceChildren(...(spaced ? [sign("␣")] : []), text.slice(spaced).replaceAll("\n", "⏎"));
}

const mib = (bytes) => `${(bytes / MIB).toFixed(1)} MiB`;

/** Speed, context and memory. */
export class Readings {
  #$;
  #shownAt = 0;
  #context = 0;
  #prompt = 0;
  #voices = [];

  constructor($) {
    this.#$ = $;
  }

  clear() {
    for (const id of ["rate", "rate2", "first", "count", "context", "memory", "file", "weights", "engine"]) this.#$(id).textContent = "–";
  }

  model(model, build) {
    const { total, file } = model.memory;
    const { parameters, contextLength } = model.info;
    this.#context = contextLength;
    this.#$("memory").textContent = mib(total);
    this.#$("file").textContent = mib(file);
    this.#$("weights").textContent = parameters.toLocaleString();
    this.#$("engine").textContent = build;
    this.#$("context").textContent = `0 of ${contextLength}`;
    const sent = pageBytes();
    this.#$("page-bytes").textContent = sent ? `${(sent / 1024).toFixed(1)} KiB` : "kept here before";
  }

  /** The voices that write now, and how many tokens of context the first one's prompt takes. */
  start(voices, prompt) {
    this.#voices = voices;
    this.#prompt = prompt;
    this.#shownAt = 0;
    this.#$("rate2-row").hidden = voices.length < 2;
  }

  token() {
    if (performance.now() - this.#shownAt > FRAME) this.flush();
  }

  flush() {
    this.#shownAt = performance.now();
    const [first, second] = this.#voices;
    if (!first) return;
    const count = first.fingerprint.count;
    this.#$("rate").textContent = perSecond(first.rate);
    this.#$("rate2").textContent = perSecond(second?.rate);
    this.#$("first").textContent = count ? `${first.first.toFixed(1)} ms` : "–";
    this.#$("count").textContent = count.toLocaleString();
    this.#$("context").textContent = `${Math.min(this.#context, this.#prompt + count)} of ${this.#context}`;
  }

  /** One sentence for a screen reader. */
  summary() {
    const [first] = this.#voices;
    return first ? `${first.fingerprint.count} tokens, ${perSecond(first.rate)} a second.` : "";
  }
}

function perSecond(rate) {
  if (!rate) return "–";
  return (rate < 10 ? Number(rate.toFixed(1)) : Math.round(rate)).toLocaleString();
}

/** Bytes of the page itself, as they came: each file once, without the models. 0: through the worker of offline use. */
function pageBytes() {
  const fetched = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  if (fetched.some(({ workerStart }) => workerStart > 0)) return 0;
  const sizes = new Map(fetched.map(({ name, encodedBodySize }) => [name, encodedBodySize]));
  return [...sizes].reduce((sum, [name, size]) => (name.endsWith(".gguf") ? sum : sum + size), 0);
}

/** Why a text ended, in words. */
export function describe(finish) {
  return { stop: "The model ended the text.", length: "As long as was asked for.", context: "The model's context is full." }[finish];
}

/** Enables the buttons that make sense now. */
export function setSelectable($, { ready, busy }) {
  $("write").disabled = !ready || busy;
  $("stop").disabled = !busy;
  for (const button of $("prompts").children) button.disabled = !ready || busy;
  $("shuffle").disabled = busy;
  $("check").disabled = !ready || busy;
}
