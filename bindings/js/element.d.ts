// Types of element.js: the custom element <pagelm-text>.
import type { Finish, Model, PagelmError, WorkerModel } from "./index.js";

/**
 * `<pagelm-text src="model.gguf">` writes on from a prompt, on a page with one script tag and no code.
 *
 * Attributes, all but `src` optional:
 *
 * | attribute | meaning |
 * |---|---|
 * | `src` | address of the model, a GGUF file |
 * | `prompt` | the prompt to begin with |
 * | `placeholder`, `label`, `rows` | of the prompt's field; the label is "Prompt" if not told |
 * | `preload` | load the model at once, not at the first use |
 * | `autorun` | write at once |
 * | `settings` | show fields for temperature, length and seed |
 * | `max-tokens`, `temperature`, `top-k`, `top-p`, `min-p`, `repetition-penalty` | sampling: 100, 0.8, 0, 0.95, 0, 0 |
 * | `seed` | the same seed writes the same text; without it each text is another |
 * | `stop` | the text ends before this (`\n` is a new line) |
 * | `where` | `worker`: the model runs in a worker |
 * | `cache`, `integrity` | keep the file for the next visit; its SHA-256 |
 * | `context-length`, `slide`, `wasm` | as the options of `loadModel` |
 * | `disabled` | nothing can be typed or started |
 *
 * Slots: `generate` and `stop`, the button's two texts. Parts: `label`, `prompt`, `controls`, `button`,
 * `status`, `load`, `progress`, `amount`, `error`, `advice`, `output`, `echo`, `text`, `settings`, `setting`.
 * Variables: `--pagelm-accent`, `--pagelm-on-accent`, `--pagelm-ink`, `--pagelm-muted`, `--pagelm-paper`,
 * `--pagelm-line`, `--pagelm-alert`, `--pagelm-radius`, `--pagelm-font`.
 *
 * Events, which bubble: see `PagelmTextEvents`. Keys: Ctrl+Enter writes, Escape stops.
 */
export class PagelmText extends HTMLElement {
  /** The model, once it is loaded; else null. It belongs to the element. */
  readonly model: Model | WorkerModel | null;
  /** What stands in the prompt's field. */
  value: string;
  /** What the model has written. */
  readonly text: string;
  /** A text is being written, or its model is being loaded. */
  readonly busy: boolean;
  /** Loads the model, if it is not loaded yet. Rejects, after the element has told why, if that fails. */
  load(): Promise<Model | WorkerModel>;
  /** Writes on from the prompt. Gives the text; null if it was stopped or failed, as the element shows. */
  generate(prompt?: string): Promise<string | null>;
  /** Stops the text, or the download that it waits for. */
  stop(): void;
}

export interface PagelmTextEvents {
  "pagelm-load": CustomEvent<{ model: Model | WorkerModel }>;
  "pagelm-progress": CustomEvent<{ loaded: number; total: number | undefined }>;
  "pagelm-token": CustomEvent<{ text: string }>;
  "pagelm-end": CustomEvent<{ text: string; finish: Finish }>;
  "pagelm-error": CustomEvent<{ error: PagelmError | Error }>;
}

declare global {
  interface HTMLElementTagNameMap {
    "pagelm-text": PagelmText;
  }
  interface HTMLElementEventMap extends PagelmTextEvents {}
}
