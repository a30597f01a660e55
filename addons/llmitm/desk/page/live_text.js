// A text that leaves while it is typed: whole words at once, the rest after a pause. What has left
// stands above the field and can no longer be changed.

import { el, say } from "./dom.js";
import { many } from "./format.js";

const PAUSE_MS = 900;

export class LiveText {
  #timer = 0;
  #on = false;

  /** send(text): false if it could not leave; told(words): for the person; left(): something has
   *  left; sent: what had left before a reload. */
  constructor({ field, send, told, left, sent }) {
    this.field = field;
    this.send = send;
    this.told = told;
    this.left = left;
    this.sent = sent;
    this.words = el("div", { class: "words" });
    this.element = el("div", { class: "sent", role: "group", "aria-label": "Already sent", hidden: true }, el("span", { class: "badge" }, "sent"), this.words);
  }

  begin() {
    this.#on = true;
    this.element.hidden = false;
    this.#draw();
    this.told("Live: the client reads along.");
    if (this.field.value) this.typed();
  }

  stop() {
    this.#on = false;
    clearTimeout(this.#timer);
  }

  /** Nothing has arrived: everything is to be sent again, some day. */
  takeBack() {
    this.stop();
    this.field.value = this.sent + this.field.value;
    this.sent = "";
    this.element.hidden = true;
  }

  typed() {
    if (!this.#on) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush(), PAUSE_MS);
    const { value, selectionStart: at } = this.field;
    const whole = value.search(/\s\S*$/) + 1;
    // Only at the end: a caret inside the text means that the person is still correcting it.
    if (whole > 0 && at >= value.length) this.#leave(whole);
  }

  /** Everything leaves now. False: it could not. */
  flush() {
    clearTimeout(this.#timer);
    if (!this.#on || !this.field.value) return true;
    return this.#leave(this.field.value.length);
  }

  #leave(length) {
    const { value, selectionStart: at } = this.field;
    const text = value.slice(0, length);
    if (!this.send(text)) {
      this.told("No connection: what is in the field has not left.");
      return false;
    }
    this.sent += text;
    this.field.value = value.slice(length);
    const caret = Math.max(0, at - length);
    this.field.setSelectionRange(caret, caret);
    this.#draw();
    this.left();
    return true;
  }

  #draw() {
    say(this.words, this.sent);
    this.words.scrollTop = this.words.scrollHeight;
    if (this.sent) this.told(`Live: ${many(this.sent.length, "character")} sent.`);
  }
}
