// A look inside the model while it writes: where a transformer looks, or what a recurrent network holds.
import { context } from "./plot.mjs";

const FRAME = 80; // milliseconds between two redraws
const STEPS = 64; // the latest tokens that are shown
const GAP = 12; // pixels between two heads
const TITLE = 20; // pixels for a head's name
const UNITS = 128; // rows that a recurrent state is shown in, at most

/** The view that suits a model. */
export function insideOf(model, canvas) {
  return model.info.heads ? new Attention(model, canvas) : new State(model, canvas);
}

/** What both views share: tokens pushed as they come, pictures drawn a few times a second. */
class View {
  /** The layer that is shown, from 0. */
  layer = 0;
  steps = [];
  labels = [];
  #shownAt = 0;
  #canvas;

  constructor(model, canvas) {
    this.model = model;
    this.#canvas = canvas;
  }

  /** Takes what the model holds now, for each layer; `label` is the token it read last. */
  read(label) {
    this.push(Array.from({ length: this.model.info.layers }, (_, layer) => this.layerNow(layer)), label);
  }

  clear() {
    this.steps = [];
    this.labels = [];
    this.draw();
  }

  push(step, label) {
    this.steps.push(step);
    this.labels.push(label);
    if (performance.now() - this.#shownAt > FRAME) this.draw();
  }

  draw() {
    this.#shownAt = performance.now();
    this.#canvas.style.height = `${this.heightFor(this.#canvas.clientWidth)}px`;
    const tools = context(this.#canvas);
    this.paint(tools);
    this.#canvas.setAttribute("aria-label", this.describe());
  }
}

/**
 * Attention: for each head a square, a row for each token read, in it a cell for each token before.
 * The darker, the more this token takes from that one.
 */
class Attention extends View {
  /** (n_head, n_positions) */
  layerNow(layer) {
    return Array.from({ length: this.model.info.heads }, (_, head) => this.model.attention(layer, head));
  }

  describe() {
    const n = this.steps.length;
    return n ? `Attention of layer ${this.layer + 1}, ${this.model.info.heads} heads, over ${n} tokens` : "Attention: nothing yet";
  }

  /** How many heads stand in a row, and how long the sides of their squares are. */
  #grid(width) {
    const { heads } = this.model.info;
    const columns = Math.min(heads, width > 480 ? 4 : 2);
    return { columns, rows: Math.ceil(heads / columns), side: Math.min(240, width / columns - GAP) };
  }

  heightFor(width) {
    const { rows, side } = this.#grid(width);
    return rows * (side + TITLE);
  }

  paint({ paper, width, color }) {
    const { columns, side } = this.#grid(width);
    for (let head = 0; head < this.model.info.heads; head++) {
      const x = (head % columns) * (side + GAP) + 1;
      const y = Math.floor(head / columns) * (side + TITLE) + TITLE - 4;
      paper.fillStyle = color("--soft");
      paper.fillText(`head ${head + 1}`, x, y - 3);
      paper.strokeStyle = color("--line");
      paper.strokeRect(x, y, side, side);
      this.#head(paper, head, { x, y, side, ink: color("--red") });
    }
  }

  #head(paper, head, { x, y, side, ink }) {
    const steps = this.steps.slice(-STEPS);
    const skipped = this.steps.length - steps.length;
    const n = Math.max(steps.length, 8);
    const cell = side / n;
    paper.fillStyle = ink;
    steps.forEach((step, i) => {
      // The row's last weight is the token's own: it stands on the diagonal.
      const weights = step[this.layer][head];
      const most = weights.reduce((a, b) => Math.max(a, b), 1e-9);
      for (let back = 0; back <= i && back < weights.length; back++) {
        // Beside the row's greatest, and by the root, so that small weights are seen, too.
        paper.globalAlpha = Math.sqrt(weights[weights.length - 1 - back] / most);
        paper.fillRect(x + (i - back) * cell, y + i * cell, cell, cell);
      }
    });
    paper.globalAlpha = 1;
    if (cell < 11 || skipped) return;
    paper.fillStyle = getComputedStyle(paper.canvas).color;
    steps.forEach((_, i) => paper.fillText(this.labels[i], x + i * cell + cell / 2 - 4, y + i * cell + cell / 2 + 4));
  }
}

/** A recurrent state: a column for each token, a row for each number in it, red above zero, dark below. */
class State extends View {
  /** The layers' states lie one behind the other; those of the models here are of one size. */
  layerNow(layer) {
    const state = this.model.state();
    const size = state.length / this.model.info.layers;
    return state.subarray(layer * size, (layer + 1) * size);
  }

  describe() {
    const n = this.steps.length;
    return n ? `State of layer ${this.layer + 1}, ${this.steps[0][this.layer].length} numbers, over ${n} tokens` : "State: nothing yet";
  }

  heightFor() {
    return 256;
  }

  paint({ paper, width, height, color }) {
    const columns = this.steps.slice(-STEPS).map((step) => step[this.layer]);
    const cell = width / STEPS;
    const [above, below] = [color("--red"), color("--ink")];
    columns.forEach((state, i) => {
      const every = Math.ceil(state.length / UNITS);
      const rows = Math.floor(state.length / every);
      for (let row = 0; row < rows; row++) {
        const value = state[row * every];
        paper.fillStyle = value > 0 ? above : below;
        paper.globalAlpha = Math.min(1, Math.abs(value));
        paper.fillRect(i * cell, (row * height) / rows, Math.ceil(cell), Math.ceil(height / rows));
      }
    });
    paper.globalAlpha = 1;
  }
}
