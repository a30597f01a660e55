// How the page makes itself heard: live regions for assistive technology, the title, and desktop
// notifications for those who asked for them.

import { button, byId, el, fill, say } from "./dom.js";
import { keepSetting, readSetting } from "./drafts.js";
import { many } from "./format.js";
import { spoken, spokenMany } from "./queue_list.js";
import { oneLine, plain, visible } from "./text.js";

const BATCH_MS = 700;
const SHOWN_MS = 9000;
const TITLE = "Review · llmitm";

export class Notices {
  #fresh = [];
  #timer = 0;

  constructor(store, { chosen }) {
    this.store = store;
    this.chosen = chosen;
    this.toggle = byId("notify");
    this.toggle.hidden = !("Notification" in window);
    this.toggle.addEventListener("click", () => this.#switch());
    this.#drawToggle();
    store.on("new", (card) => this.#arrived(card));
    store.on("gone", () => this.#title());
    store.on("snapshot", () => this.#title());
    store.on("error", (error) => this.alarm(error.message ?? String(error.code)));
  }

  get wanted() {
    return readSetting("notify") === "on" && window.Notification?.permission === "granted";
  }

  /** Said politely, and shown for a while. */
  tell(words) {
    const short = oneLine(words, 300);
    say(byId("polite"), plain(short));
    const note = el("p", { class: "toast" }, visible(short));
    byId("toasts").append(note);
    setTimeout(() => note.remove(), SHOWN_MS);
    while (byId("toasts").childElementCount > 3) byId("toasts").firstChild.remove();
  }

  /** An error that belongs to no card: stays until it is closed. */
  alarm(words) {
    const place = byId("alarm");
    const close = button("Close", { kind: "quiet", on: { click: () => fill(place) } });
    fill(place, el("p", {}, visible(oneLine(words, 600))), close);
  }

  #title() {
    const waiting = this.store.cards.size;
    document.title = waiting ? `(${waiting}) ${TITLE}` : TITLE;
  }

  /** A burst is told once. */
  #arrived(card) {
    this.#title();
    this.#fresh.push(card);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const cards = this.#fresh.filter((one) => this.store.cards.has(one.request_id));
      this.#fresh = [];
      if (!cards.length) return;
      say(byId("polite"), spokenMany(cards));
      if (this.wanted && document.hidden) this.#notify(cards);
    }, BATCH_MS);
  }

  #notify(cards) {
    // The text of a prompt stays in the page: a notification may be kept by the desktop.
    const shown = new Notification(cards.length === 1 ? spoken({ ...cards[0], reason: "" }) : `${many(cards.length, "card")} to review`, { tag: "llmitm-review" });
    shown.onclick = () => {
      window.focus();
      this.chosen(cards[0].request_id);
      shown.close();
    };
  }

  async #switch() {
    if (this.wanted) keepSetting("notify", "off");
    else if ((await Notification.requestPermission()) === "granted") keepSetting("notify", "on");
    else this.alarm("This browser does not allow notifications for this page. Its settings decide that.");
    this.#drawToggle();
  }

  #drawToggle() {
    this.toggle.setAttribute("aria-pressed", String(this.wanted));
  }
}
