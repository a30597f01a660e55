// A text area for YAML: line numbers, marks for lines with mistakes and for lines that were
// changed, and Enter that keeps the indentation. Tab stays the key that leaves the field.

import { el, fill } from "./dom.js";

/** element: put it in the page; area: the text area itself. */
export class YamlArea {
  #drawn = "";

  constructor({ label, describedBy, changed }) {
    this.area = el("textarea", { class: "yaml", id: "document", wrap: "off", spellcheck: "false", autocapitalize: "off", autocomplete: "off", "aria-label": label, "aria-describedby": describedBy });
    this.gutter = el("div", { class: "gutter", "aria-hidden": "true" });
    this.element = el("div", { class: "yaml-box" }, this.gutter, this.area);
    this.base = "";
    this.mistakes = [];
    this.area.addEventListener("input", () => {
      this.#draw();
      changed(this.area.value);
    });
    this.area.addEventListener("scroll", () => this.#follow());
    this.area.addEventListener("keydown", (event) => this.#indent(event));
  }

  get text() {
    return this.area.value;
  }

  /** text: what is in the field; base: what it was before it was edited. */
  set(text, base) {
    this.base = base;
    this.area.value = text;
    this.#drawn = "";
    this.#draw();
  }

  /** mistakes: [{line, message}], lines from 1; 0 = of the whole document. */
  mark(mistakes) {
    this.mistakes = mistakes;
    this.area.setAttribute("aria-invalid", String(mistakes.length > 0));
    this.#draw();
  }

  goTo(line) {
    const lines = this.area.value.split("\n");
    const at = lines.slice(0, Math.max(0, line - 1)).reduce((sum, one) => sum + one.length + 1, 0);
    this.area.focus();
    this.area.setSelectionRange(at, at + (lines[line - 1]?.length ?? 0));
    const height = parseFloat(getComputedStyle(this.area).lineHeight);
    this.area.scrollTop = Math.max(0, (line - 4) * height);
    this.#follow();
  }

  /** First and last line (from 1) that differ from the base; null if nothing does. */
  changedLines() {
    if (this.area.value === this.base) return null;
    const mine = this.area.value.split("\n");
    const old = this.base.split("\n");
    let head = 0;
    while (head < mine.length && head < old.length && mine[head] === old[head]) head += 1;
    let tail = 0;
    while (tail < mine.length - head && tail < old.length - head && mine.at(-1 - tail) === old.at(-1 - tail)) tail += 1;
    return { first: head + 1, last: Math.max(head + 1, mine.length - tail) };
  }

  #draw() {
    const total = this.area.value.split("\n").length;
    const changed = this.changedLines();
    const wrong = new Set(this.mistakes.map(({ line }) => line));
    const known = `${total}|${changed?.first}|${changed?.last}|${[...wrong]}`;
    if (known === this.#drawn) return;
    this.#drawn = known;
    const rows = [];
    for (let line = 1; line <= total; line += 1) {
      const isChanged = changed && line >= changed.first && line <= changed.last;
      rows.push(el("div", { class: `${wrong.has(line) ? "wrong" : ""} ${isChanged ? "changed" : ""}`.trim() || null }, String(line)));
    }
    fill(this.gutter, el("div", { class: "rows" }, rows));
    this.#follow();
  }

  #follow() {
    const rows = this.gutter.firstChild;
    if (rows) rows.style.transform = `translateY(${-this.area.scrollTop}px)`;
  }

  #indent(event) {
    if (event.key !== "Enter" || event.ctrlKey || event.metaKey || event.isComposing) return;
    const { selectionStart: at, value } = this.area;
    const line = value.slice(value.lastIndexOf("\n", at - 1) + 1, at);
    const indent = line.match(/^ */)[0];
    if (!indent) return;
    event.preventDefault();
    // The only way to insert that keeps the browser's own undo.
    if (!document.execCommand("insertText", false, `\n${indent}`)) this.area.setRangeText(`\n${indent}`, at, this.area.selectionEnd, "end");
  }
}
