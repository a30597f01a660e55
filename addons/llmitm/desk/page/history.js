// What was decided, the figures, and standing approvals with their end.

import { button, byId, el, fill, say } from "./dom.js";
import { sortWords } from "./desk.js";
import { clock, count, doneName, kindName, left, many, now, seconds, span } from "./format.js";
import { oneLine, plain, visible } from "./text.js";

const SHOWN = 200;

export class History {
  constructor(store, desk, notices) {
    this.store = store;
    this.desk = desk;
    this.notices = notices;
    this.dialog = byId("history");
    this.rows = byId("history-rows");
    store.on("history", () => this.dialog.open && this.#draw());
    store.on("stats", () => this.#stats());
  }

  open() {
    this.#draw();
    this.#approvals();
    this.dialog.showModal();
  }

  #draw() {
    const rows = this.store.history.slice(0, SHOWN).map((past) =>
      el(
        "li",
        {},
        el("span", { class: "line" }, el("strong", {}, doneName(past.action)), past.by ? [" by ", visible(oneLine(past.by, 60))] : "", el("span", { class: "hint" }, clock(past.at))),
        el("span", { class: "line dim" }, visible(oneLine([kindName(past.kind), past.client, past.model, past.reason].filter(Boolean).join(" · "), 140)), typeof past.wait_s === "number" ? el("span", {}, `waited ${span(past.wait_s)}`) : null),
        past.note || past.why ? el("span", { class: "glimpse" }, visible(oneLine(past.note || past.why, 300))) : null,
      ),
    );
    fill(this.rows, rows.length ? rows : el("li", { class: "hint" }, "Nothing has been decided yet."));
  }

  #stats() {
    const stats = this.store.stats;
    const decided = Object.entries(stats.decided ?? {}).filter(([, times]) => times > 0);
    const total = decided.reduce((sum, [, times]) => sum + times, 0);
    const figures = [
      ["waiting", count(stats.waiting)],
      ["decided", count(total)],
      ["average wait", typeof stats.average_wait_s === "number" ? span(stats.average_wait_s) : "none yet"],
      [stats.operators === 1 ? "operator" : "operators", count(stats.operators)],
    ];
    fill(byId("figures"), figures.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
    const all = [...decided.map(([action, times]) => [doneName(action), count(times)]), ["cancelled", count(stats.cancelled)], ["ended by the time limit", count(stats.timeouts)], ["let through, too many waited", count(stats.full)], ["longest wait", typeof stats.longest_wait_s === "number" ? span(stats.longest_wait_s) : ""]];
    fill(byId("all-figures"), all.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  }

  async #approvals() {
    const place = byId("approvals");
    try {
      const answer = await this.desk.approvals();
      const rows = Array.isArray(answer) ? answer : (answer?.approvals ?? []);
      fill(place, rows.length ? rows.map((row) => this.#approval(row)) : el("li", { class: "hint" }, "None. Every held exchange asks an operator."));
    } catch (error) {
      fill(place, el("li", { class: "form-error", role: "alert" }, `They cannot be shown: ${error.message}`));
    }
  }

  #approval(row) {
    const end = seconds(row.until);
    const words = sortWords(row.sort ?? []);
    const revoke = button("Revoke", { kind: "quiet", "aria-label": `Revoke: ${plain(words)}`, on: { click: () => this.#revoke(row, item) } });
    const item = el("li", {}, el("span", { class: "line" }, el("strong", {}, visible(words)), revoke), el("span", { class: "line dim" }, `by ${plain(row.by)}, ${left(end - now())} more, ${many(row.used ?? 0, "time")} used`), (row.verdicts ?? []).length ? el("span", { class: "line dim" }, `with ${plain(row.verdicts.join(", "))}`) : null);
    return item;
  }

  async #revoke(row, item) {
    try {
      await this.desk.revoke(row.id);
      this.notices.tell("Revoked: from now on these ask an operator again.");
      await this.#approvals();
      byId("approvals-title").focus();
    } catch (error) {
      item.querySelector(".form-error")?.remove();
      item.append(el("span", { class: "form-error", role: "alert" }, error.message));
    }
  }
}

/** The dialog that approves all of one kind for a while. */
export class StandingDialog {
  constructor(store, decide) {
    this.store = store;
    this.dialog = byId("standing");
    this.minutes = byId("minutes");
    this.card = null;
    byId("standing-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const minutes = Number(this.minutes.value);
      const card = this.store.cards.get(this.card?.request_id);
      if (!(minutes >= 1 && minutes <= 1440)) return say(byId("standing-error"), "Between 1 and 1440 minutes.");
      if (!card || card.digest !== this.card.digest) return say(byId("standing-error"), "This one has changed or is over: close this and look again.");
      this.dialog.close();
      decide(card, "approve_request", { minutes });
    });
    byId("standing-cancel").addEventListener("click", () => this.dialog.close());
  }

  open(card, words) {
    this.card = card;
    say(byId("standing-error"), "");
    fill(byId("standing-sort"), visible(words));
    this.dialog.showModal();
    this.minutes.focus();
    this.minutes.select();
  }
}
