// The list of what waits. Items are kept and changed in place, so that nothing moves under a
// pointer more than it must and a list of a thousand stays quick.

import { byId, el, fill, say } from "./dom.js";
import { draftsOf } from "./drafts.js";
import { afterName, kindName, left, many, money, now, seconds, span } from "./format.js";
import { oneLine, plain, visible } from "./text.js";

const URGENT_S = 30;
const BURST_MS = 20;

export class QueueList {
  #items = new Map();
  #filter = "";

  constructor(store, { chosen }) {
    this.store = store;
    this.list = byId("cards");
    this.chosen = chosen;
    this.list.addEventListener("click", (event) => {
      const item = event.target.closest("[data-id]");
      if (item) chosen(item.dataset.id, { open: true });
    });
    this.list.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      const item = event.target.closest("[data-id]");
      if (!item || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      chosen(item.dataset.id, { open: true, focus: "card" });
    });
    const field = byId("filter");
    field.addEventListener("input", () => {
      this.#filter = field.value.trim().toLowerCase();
      this.draw();
    });
    for (const event of ["new", "update", "gone", "snapshot", "chosen", "sending"]) store.on(event, () => this.#later());
  }

  #pending = false;

  /** A burst of messages is drawn once. */
  #later() {
    if (this.#pending) return;
    this.#pending = true;
    setTimeout(() => {
      this.#pending = false;
      this.draw();
    }, BURST_MS);
  }

  /** Cards as listed: those that wait, then those that are over and kept for a draft. */
  listed() {
    const over = [...this.store.gone.values()].filter(({ card }) => card.request_id === this.store.chosen || draftsOf(card.request_id).length);
    return [...this.store.waiting(), ...over.map(({ card }) => card)].filter((card) => this.#matches(card));
  }

  /** The id of the neighbour of the chosen card, `step` away; "" if there is none. */
  neighbour(step) {
    const ids = this.listed().map((card) => card.request_id);
    const at = ids.indexOf(this.store.chosen);
    if (at < 0) return (step > 0 ? ids[0] : ids.at(-1)) ?? "";
    return ids[at + step] ?? "";
  }

  focusChosen() {
    (this.#items.get(this.store.chosen) ?? this.list).focus();
  }

  #matches(card) {
    if (!this.#filter) return true;
    const texts = [kindName(card.kind), card.client, card.provider, card.model, card.reason, card.rule, card.call?.name, lastText(card), ...(card.verdicts ?? [])];
    return this.#filter.split(/\s+/).every((word) => texts.some((text) => String(text ?? "").toLowerCase().includes(word)));
  }

  draw() {
    const listed = this.listed();
    const kept = new Set(listed.map((card) => card.request_id));
    for (const [id, item] of this.#items) {
      if (kept.has(id)) continue;
      item.remove();
      this.#items.delete(id);
    }
    const first = kept.has(this.store.chosen) ? this.store.chosen : listed[0]?.request_id;
    listed.forEach((card, index) => this.#place(card, index, first));
    const total = this.store.cards.size;
    say(byId("waiting-count"), String(total));
    const shown = this.#filter ? `${listed.length} of ${total} shown` : "";
    say(byId("filter-state"), shown);
    say(byId("no-card"), total ? "Choose a held exchange to see it here." : "Nothing to decide now.");
    byId("nothing").hidden = listed.length > 0;
    say(byId("nothing"), total ? "Nothing matches the filter." : "Nothing waits. New cards appear here by themselves.");
    this.tick();
  }

  #place(card, index, first) {
    const id = card.request_id;
    let item = this.#items.get(id);
    if (!item) {
      item = el("li", { role: "option", id: `card-${index}-${id}`, data: { id } });
      this.#items.set(id, item);
    }
    const over = this.store.gone.get(id)?.past;
    const known = `${card.digest}|${card.state}|${card.writer ?? ""}|${over?.action ?? ""}|${this.store.sending.has(id)}|${draftsOf(id)}`;
    if (item.dataset.known !== known) {
      item.dataset.known = known;
      fill(item, face(card, { over, sending: this.store.sending.has(id), me: this.store.operator }));
    }
    item.setAttribute("aria-selected", String(id === this.store.chosen));
    item.tabIndex = id === first ? 0 : -1;
    if (this.list.children[index] !== item) this.list.insertBefore(item, this.list.children[index] ?? null);
  }

  /** Time goes on: ages, time left and the bars. */
  tick() {
    const at = now();
    for (const [id, item] of this.#items) {
      const card = this.store.card(id);
      const age = item.querySelector(".age");
      if (!card || !age) continue;
      say(age, span(at - seconds(card.created_at)));
      drawLeft(item, card, at);
    }
  }
}

/** Fills `.left` (words) and `progress` below an element. */
export function drawLeft(element, card, at = now()) {
  const words = element.querySelector(".left");
  const bar = element.querySelector("progress");
  if (!words || !bar) return;
  const deadline = seconds(card.deadline_at);
  const remaining = deadline === null ? null : Math.max(0, deadline - at);
  say(words, remaining === null ? "no limit" : `${left(remaining)} left`);
  bar.max = Math.max(1, (deadline ?? 1) - (seconds(card.created_at) ?? 0));
  bar.value = remaining ?? bar.max;
  element.classList.toggle("urgent", remaining !== null && remaining <= URGENT_S);
}

export function badges(card) {
  return (card.verdicts ?? []).map((verdict) => el("span", { class: "badge verdict" }, visible(oneLine(verdict, 60))));
}

export const timeBar = (card) => el("progress", { "aria-label": `Time left, then it is ${afterName(card.on_timeout)}` });

export function lastText(card) {
  if (card.call) return `${card.call.name ?? ""} ${typeof card.call.arguments === "string" ? card.call.arguments : JSON.stringify(card.call.arguments ?? {})}`;
  const messages = [...(card.chat ?? []), ...(Array.isArray(card.response) ? card.response : [card.response])].filter(Boolean);
  for (const message of messages.reverse()) {
    for (const part of [...(message.parts ?? [])].reverse()) if (part.text) return part.text;
  }
  return "";
}

function face(card, { over, sending, me }) {
  const drafts = draftsOf(card.request_id);
  const who = card.client || "unknown client";
  const state = over ? `over: ${over.action}` : sending ? "sending" : card.state === "away" ? "client away" : card.writer ? (card.writer === me ? "you write" : `${plain(card.writer)} writes`) : "";
  return [
    el("span", { class: "line" }, el("span", { class: "kind", data: { kind: card.kind } }, kindName(card.kind)), el("strong", {}, visible(oneLine(card.call?.name || who, 40))), el("span", { class: "age" })),
    el("span", { class: "line dim" }, visible(oneLine([card.call ? who : "", card.model].filter(Boolean).join(" · "), 60)), el("span", { class: "cost" }, money(card.cost_usd))),
    el("span", { class: "glimpse", dir: "auto" }, visible(oneLine(lastText(card)))),
    el("span", { class: "line badges" }, badges(card), state ? el("span", { class: "badge state" }, state) : null, drafts.length ? el("span", { class: "badge draft" }, over ? "draft kept" : "draft") : null),
    over ? null : el("span", { class: "line time" }, timeBar(card), el("span", { class: "left" })),
  ];
}

/** How a card is told to somebody who does not see the list. */
export function spoken(card) {
  const words = [card.call?.name, card.client || "unknown client", card.model].filter(Boolean).map((word) => oneLine(word, 60));
  return plain(`${kindName(card.kind)} held: ${words.join(", ")}. ${oneLine(card.reason, 100)}`);
}

export const spokenMany = (cards) => (cards.length === 1 ? spoken(cards[0]) : `${many(cards.length, "new card")} to review`);
