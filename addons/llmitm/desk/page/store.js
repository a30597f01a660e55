// What the page knows: the cards that wait, what became of others, and what was sent and not yet
// answered. Changes are told by name; drawing is done elsewhere.

import { draftsOf } from "./drafts.js";
import { clock, doneName, seconds, setServerTime } from "./format.js";

const HISTORY = 500;
const GONE = 50;

export class Store {
  #listeners = new Map();

  constructor() {
    this.cards = new Map();
    this.gone = new Map();
    this.history = [];
    this.stats = {};
    this.operator = "";
    this.chosen = "";
    this.sending = new Map();
    this.problems = new Map();
    this.link = { name: "connecting" };
  }

  /** Events: new(card), update(card), gone(card, past), problem(id), sending(id), checked(data), chosen(id),
   *  snapshot(), history(), stats(), link(), error(error). */
  on(event, told) {
    const all = this.#listeners.get(event) ?? [];
    this.#listeners.set(event, [...all, told]);
  }

  emit(event, ...given) {
    for (const told of this.#listeners.get(event) ?? []) told(...given);
  }

  card(id) {
    return this.cards.get(id) ?? this.gone.get(id)?.card ?? null;
  }

  /** Cards that wait, oldest first. */
  waiting() {
    return [...this.cards.values()];
  }

  choose(id) {
    if (this.chosen === id) return;
    const before = this.chosen;
    this.chosen = id;
    this.#forget(before);
    this.emit("chosen", id);
  }

  setLink(link) {
    this.link = link;
    this.emit("link");
  }

  /** One message from the server. Unknown types are left alone: a newer server may say more. */
  hear({ type, data }) {
    const told = {
      snapshot: () => this.#snapshot(data),
      new_request: () => this.#arrived(data),
      request_updated: () => this.#arrived(data),
      request_cancelled: () => this.#over(data.request_id, { action: "cancelled", why: data.reason, at: data.at }),
      request_decided: () => this.#over(data.request_id, data),
      stats_update: () => this.#stats(data),
      checked: () => this.emit("checked", data),
      error: () => this.#error(data),
    }[type];
    if (told) told();
  }

  /** Marks a decision as under way; false if one already is, or the card is not waiting. */
  startSending(id, action) {
    if (this.sending.has(id) || !this.cards.has(id)) return false;
    this.sending.set(id, action);
    this.problems.delete(id);
    this.emit("sending", id);
    return true;
  }

  stopSending(id, problem = null) {
    this.sending.delete(id);
    if (problem) this.problems.set(id, problem);
    else this.problems.delete(id);
    this.emit("sending", id);
    this.emit("problem", id);
  }

  /** Throws away a card that is over and its place in the list. */
  dismiss(id) {
    this.gone.delete(id);
    if (this.chosen === id) this.choose("");
    this.emit("gone", null, null);
  }

  #snapshot(data) {
    setServerTime(seconds(data.now));
    this.operator = typeof data.operator === "string" ? data.operator : (data.operator?.username ?? data.operator?.name ?? "");
    this.history = [...(data.history ?? [])].sort((one, other) => seconds(other.at) - seconds(one.at)).slice(0, HISTORY);
    this.stats = data.stats ?? {};
    const found = new Map(data.requests.map((card) => [card.request_id, card]));
    for (const id of [...this.cards.keys()]) if (!found.has(id)) this.#over(id, this.#past(id));
    for (const card of found.values()) this.cards.set(card.request_id, card);
    this.cards = new Map([...this.cards].sort(([, one], [, other]) => seconds(one.created_at) - seconds(other.created_at)));
    const broken = { code: "broken", message: "The connection broke while this was being sent, and it still waits. Look again and decide again." };
    for (const id of [...this.sending.keys()]) if (this.cards.has(id)) this.stopSending(id, broken);
    this.emit("snapshot");
    this.emit("stats");
    this.emit("history");
  }

  #past(id) {
    return this.history.find((past) => past.request_id === id) ?? { action: "cancelled", why: "it was gone when the connection came back" };
  }

  #arrived(card) {
    const before = this.cards.get(card.request_id);
    this.cards.set(card.request_id, card);
    this.gone.delete(card.request_id);
    this.emit(before ? "update" : "new", card, before);
  }

  #over(id, past) {
    const card = this.cards.get(id);
    const mine = this.sending.get(id);
    this.cards.delete(id);
    this.sending.delete(id);
    this.problems.delete(id);
    if (!card) return;
    const told = { kind: card.kind, client: card.client, model: card.model, reason: card.reason, ...past, request_id: id, at: past.at ?? Date.now() / 1000 };
    this.gone.set(id, { card, past: told, mine: Boolean(mine) });
    if (!this.history.some((one) => one.request_id === id)) this.history.unshift(told);
    this.history.length = Math.min(this.history.length, HISTORY);
    this.emit("gone", card, told, Boolean(mine));
    this.#forget(id);
    this.emit("history");
  }

  /** A card that is over stays only while it is looked at or somebody's draft hangs on it. */
  #forget(id) {
    if (id && id !== this.chosen && draftsOf(id).length === 0) this.gone.delete(id);
    for (const old of this.gone.keys()) {
      if (this.gone.size <= GONE) break;
      if (old !== this.chosen) this.gone.delete(old);
    }
  }

  #stats(data) {
    this.stats = data;
    this.emit("stats");
  }

  #error(data) {
    const id = data.request_id ?? "";
    if (!id || !(this.cards.has(id) || this.gone.has(id))) {
      this.emit("error", data);
      return;
    }
    this.stopSending(id, data);
  }
}

/** What became of a card, in words: "Approved by ada at 10:31:07: looks fine". */
export function ending(past) {
  const done = doneName(past.action);
  const by = past.by && past.action !== "timeout" ? ` by ${past.by}` : "";
  const when = clock(past.at) ? ` at ${clock(past.at)}` : "";
  const why = past.note || past.why || past.reason_given || "";
  return `${done.charAt(0).toUpperCase()}${done.slice(1)}${by}${when}${why ? `: ${why}` : ""}`;
}
