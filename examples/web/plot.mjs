// Tokens per second over the tokens of a text, one line per model, on a canvas.

// A point of a line stands for the latest tokens that took so long together: browsers round their clock to 0.1 ms.
const WINDOW = 4; // milliseconds
const LEAST = 8; // tokens
const FRAME = 80; // milliseconds between two redraws

export class SpeedPlot {
  #canvas;
  #lines = [];
  #shownAt = 0;

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** Begins anew with so many lines; without an argument the plot is empty. */
  clear(lines = 0) {
    this.#lines = Array.from({ length: lines }, () => ({ recent: [], spent: 0, rates: [] }));
    this.draw();
  }

  /** A token of line `i` took so many milliseconds. */
  token(i, ms) {
    const line = this.#lines[i];
    line.recent.push(ms);
    line.spent += ms;
    while (line.recent.length > LEAST && line.spent - line.recent[0] > WINDOW) line.spent -= line.recent.shift();
    line.rates.push((1000 * line.recent.length) / Math.max(0.1, line.spent));
    if (performance.now() - this.#shownAt > FRAME) this.draw();
  }

  draw() {
    this.#shownAt = performance.now();
    const { paper, width, height, color } = context(this.#canvas);
    const lines = this.#lines.filter(({ rates }) => rates.length > 1);
    const top = niceAbove(Math.max(0, ...lines.flatMap(({ rates }) => rates)));
    const last = Math.max(2, ...lines.map(({ rates }) => rates.length)) - 1;
    const left = 6, right = width - 6, low = height - 18, high = 16;
    const x = (i) => left + ((right - left) * i) / last;
    const y = (rate) => low - ((low - high) * rate) / top;

    paper.strokeStyle = color("--line");
    paper.fillStyle = color("--soft");
    for (const rate of [0, top / 2, top]) stroke(paper, [[left, y(rate)], [right, y(rate)]]);
    if (lines.length) {
      paper.fillText(`${top.toLocaleString()} a second`, left, high - 4);
      paper.textAlign = "right";
      paper.fillText(`token ${last + 1}`, right, height - 5);
    }
    paper.lineWidth = 2;
    this.#lines.forEach(({ rates }, i) => {
      paper.strokeStyle = color(i ? "--ink" : "--red");
      stroke(paper, rates.map((rate, t) => [x(t), y(rate)]));
    });
    const say = lines.length ? `Tokens per second, from 0 to ${top.toLocaleString()}, over ${last + 1} tokens` : "Nothing yet";
    this.#canvas.setAttribute("aria-label", say);
  }
}

/** 1, 2 or 5 times a power of ten. */
function niceAbove(n) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, n)));
  return [1, 2, 5, 10].map((step) => step * power).find((nice) => nice >= n) ?? 10;
}

function stroke(paper, points) {
  paper.beginPath();
  for (const [x, y] of points) paper.lineTo(x, y);
  paper.stroke();
}

/** A cleared canvas in the screen's own pixels, drawn in CSS pixels, and the page's colours. */
export function context(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = globalThis.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const paper = canvas.getContext("2d");
  paper.scale(ratio, ratio);
  const style = getComputedStyle(canvas);
  paper.font = `12px ${style.fontFamily}`;
  return { paper, width, height, color: (name) => style.getPropertyValue(name) };
}
