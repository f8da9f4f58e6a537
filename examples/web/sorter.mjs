// The view of the sorting model: six digits in, six digits out.

const COUNT = 6;

export class Sorter {
  #$;
  #digits = [];

  constructor($) {
    this.#$ = $;
    $("shuffle").addEventListener("click", () => this.shuffle());
    $("digits").addEventListener("input", () => this.show([]));
  }

  shuffle() {
    this.#$("digits").value = Array.from({ length: COUNT }, () => Math.floor(3 * Math.random())).join("");
    this.show([]);
  }

  /** The digits as token ids, or an error in words. */
  read() {
    const text = this.#$("digits").value.trim();
    if (!/^[012]{6}$/.test(text)) throw new RangeError("Please enter six digits, each of them 0, 1 or 2.");
    this.#digits = Array.from(text, Number);
    return this.#digits;
  }

  show(sorted) {
    const given = Array.from(this.#$("digits").value.slice(0, COUNT));
    tiles(this.#$("tiles-in"), "The digits given", given);
    tiles(this.#$("tiles-out"), "The digits sorted", sorted);
    this.#$("verdict").textContent = "";
  }

  verdict(sorted) {
    const right = [...this.#digits].sort().join("") === sorted.join("");
    const text = right ? "Sorted, and right." : "Wrong: the model made a mistake.";
    this.#$("verdict").textContent = text;
    return text;
  }
}

function tiles(element, name, digits) {
  element.setAttribute("aria-label", `${name}: ${digits.length ? digits.join(" ") : "none yet"}`);
  element.replaceChildren(...Array.from({ length: COUNT }, (_, i) => {
    const tile = document.createElement("span");
    tile.className = i < digits.length ? `d${digits[i]}` : "none";
    tile.textContent = digits[i] ?? "";
    return tile;
  }));
}
