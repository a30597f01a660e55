// The chosen exchange: who asks what, the conversation, what is held, and the actions. Everything
// that can be decided here is bound to the digest that is shown.

import { AnswerForm, draftText } from "./answer_form.js";
import { conversation, heldAnswer, heldCall } from "./chat.js";
import { button, byId, el, fill, labelled, say } from "./dom.js";
import { dropAll, dropDraft, keepDraft, readDraft } from "./drafts.js";
import { EditForm } from "./edit_form.js";
import { afterName, clock, count, kindName, many, money, tokens } from "./format.js";
import { badges, drawLeft, lastText, timeBar } from "./queue_list.js";
import { RejectForm } from "./reject_form.js";
import { ending } from "./store.js";
import { oneLine, plain, visible } from "./text.js";

const SETTLE_MS = 400;
const SETTLE_ALONE_MS = 900;
const SHOWN_OLD_NARROW = 2;
const FORMS = { edit: EditForm, answer: AnswerForm, reject: RejectForm };

export class CardPanel {
  form = null;
  #shown = "";
  #digest = "";
  #armed = 0;
  #note = null;
  #jumps = 0;

  constructor(store, desk) {
    this.store = store;
    this.desk = desk;
    this.panel = byId("card");
    this.head = byId("card-head");
    this.body = byId("conversation");
    this.place = byId("work");
    this.bar = byId("actions");
    this.problems = byId("card-problem");
    store.on("chosen", () => this.show());
    store.on("snapshot", () => {
      this.show();
      if (this.card) this.#writing(this.card);
    });
    store.on("update", (card) => this.#updated(card));
    store.on("gone", () => this.show());
    store.on("sending", (id) => id === this.#shown && this.#drawBar());
    store.on("problem", (id) => id === this.#shown && this.#drawProblem());
    store.on("checked", (data) => data.request_id === this.#shown && this.form?.checked(data));
  }

  get card() {
    return this.store.cards.get(this.#shown) ?? null;
  }

  /** Draws the chosen card. alone: the page chose it, not the person. */
  show({ alone = false } = {}) {
    const id = this.store.chosen;
    const card = this.store.card(id);
    document.body.classList.toggle("has-card", Boolean(card));
    byId("no-card").hidden = Boolean(card);
    this.panel.hidden = !card;
    const same = id === this.#shown && card?.digest === this.#digest;
    if (id !== this.#shown) this.#leaveForm();
    const changed = id === this.#shown && card && !same;
    this.#shown = card ? id : "";
    this.#digest = card?.digest ?? "";
    if (!card) return;
    this.#drawHead(card, changed);
    if (!same) {
      this.#drawChat(card, !changed);
      this.#settle(alone || changed);
    }
    if (!this.card) this.#over(card);
    this.#drawBar();
    this.#drawProblem();
  }

  #updated(card) {
    if (card.request_id !== this.#shown) return;
    this.show({ alone: true });
    if (this.form) this.form.card = card;
    this.#writing(card);
  }

  /** Who writes an answer has changed: the server lets this operator, or no longer does. */
  #writing(card) {
    if (card.state === "writing" && card.writer === this.desk.operator()) this.form?.began?.();
    else this.form?.dropped?.();
  }

  /** A card that has just appeared takes no decision for a moment: the last key or click was meant
   *  for another one. */
  #settle(alone) {
    const wait = alone ? SETTLE_ALONE_MS : SETTLE_MS;
    this.#armed = performance.now() + wait;
    this.bar.classList.add("settling");
    setTimeout(() => this.armed() && this.bar.classList.remove("settling"), wait + 10);
  }

  armed() {
    return performance.now() >= this.#armed;
  }

  #drawHead(card, changed) {
    const facts = [["Model", card.model], ["Client", card.client || "unknown"], ["Provider", [card.provider, card.protocol].filter(Boolean).join(", ")], ["Size", tokens(card.tokens)], ["Estimate", money(card.cost_usd)], ["Stream", card.stream ? "yes" : "no"], ["Conversation", oneLine(card.conversation, 24)], ["Since", clock(card.created_at)]];
    fill(
      this.head,
      el("div", { class: "title-row" }, el("span", { class: "kind", data: { kind: card.kind } }, kindName(card.kind)), el("h2", { id: "card-title", tabindex: "-1" }, visible(oneLine(title(card), 90))), changed ? el("span", { class: "badge verdict", role: "status" }, "has changed, look again") : null),
      el("p", { class: "why" }, el("strong", {}, "Held: "), visible(card.reason), card.rule ? el("span", { class: "hint" }, " rule ", visible(oneLine(card.rule, 80))) : null, " ", badges(card), card.state === "away" ? el("span", { class: "badge state" }, "client away, may come back") : null, card.writer ? el("span", { class: "badge state" }, card.writer === this.desk.operator() ? "you write the answer" : `${plain(card.writer)} writes the answer`) : null),
      el("dl", { class: "facts" }, facts.filter(([, value]) => value).map(([name, value]) => el("div", { data: { fact: name } }, el("dt", {}, name), el("dd", {}, visible(String(value)))))),
      this.card ? el("p", { class: "time" }, timeBar(card), el("span", { class: "left" }), el("span", { class: "hint" }, `then ${afterName(card.on_timeout)}`)) : null,
    );
    this.tick();
  }

  tick() {
    if (this.card) drawLeft(this.head, this.card);
  }

  #drawChat(card, fresh) {
    const cut = card.chat_cut ?? 0;
    const more = this.store.cards.has(card.request_id) ? () => this.#loadAll(card) : null;
    const older = cut ? el("p", { class: "earlier" }, more ? button(`Load ${many(cut, "older message")}`, { kind: "quiet", on: { click: more } }) : `${many(cut, "older message")} left out`) : null;
    const held = card.call ? heldCall(card, { more }) : card.response ? heldAnswer(card, { more }) : null;
    // On a phone what is decided about comes first: nobody should have to scroll for it.
    const first = narrow() ? held : null;
    fill(this.body, first, older, conversation(card, { more, ...(narrow() ? { shownOld: SHOWN_OLD_NARROW } : {}) }), first ? null : held);
    if (fresh && !narrow()) this.jump({ focus: false });
    else if (fresh) window.scrollTo(0, 0);
  }

  async #loadAll(card) {
    try {
      const whole = await this.desk.load(card.request_id);
      if (this.#shown !== card.request_id || whole.digest !== this.#digest) return;
      const at = this.body.scrollTop;
      this.#drawChat({ ...whole, chat_cut: 0 }, false);
      this.body.scrollTop = at;
    } catch (error) {
      this.#tell(`The rest cannot be loaded: ${error.message}`);
    }
  }

  /** To what is held, then to the first new message and back; with neither, to the last message. */
  jump({ focus = true } = {}) {
    const places = [this.body.querySelector(".held"), this.body.querySelector("#first-new")].filter(Boolean);
    const target = places[focus ? this.#jumps++ % places.length : 0] ?? this.body.querySelector(".chat > :last-child");
    if (!target) return;
    target.scrollIntoView({ block: "start" });
    if (!focus) {
      this.#jumps = places.length > 1 ? 1 : 0;
      return;
    }
    const heading = target.matches("[tabindex]") ? target : target.querySelector("h3");
    if (heading && !heading.hasAttribute("tabindex")) heading.tabIndex = -1;
    heading?.focus({ preventScroll: true });
  }

  #over(card) {
    const gone = this.store.gone.get(card.request_id);
    const text = draftText(card.request_id);
    const kept = text ? el("div", {}, el("p", {}, "It can no longer be sent. Your draft is kept until you throw it away:"), labelled("Kept draft", el("textarea", { rows: "8", readOnly: true, value: text }), { hideLabel: true })) : null;
    const away = button(text ? "Throw the draft away" : "Close", { kind: "quiet", on: { click: () => (dropAll(card.request_id), this.store.dismiss(card.request_id)) } });
    this.#leaveForm();
    fill(this.place, el("section", { class: "work over", "aria-labelledby": "work-title" }, el("h3", { id: "work-title", tabindex: "-1", role: "alert" }, visible(`This one is over. ${oneLine(ending(gone.past), 600)}`)), kept, el("div", { class: "buttons" }, away)));
    this.panel.dataset.work = "over";
  }

  #drawBar() {
    const card = this.card;
    this.bar.hidden = !card;
    this.panel.classList.toggle("is-over", !card);
    if (!card) return;
    const sending = this.store.sending.get(card.request_id);
    const other = card.writer && card.writer !== this.desk.operator();
    const off = sending || other ? "true" : null;
    const act = (label, key, kind, told, allowed = true) => button(label, { key, kind, "aria-disabled": off ?? (allowed ? null : "true"), on: { click: () => told() } });
    const focused = this.bar.contains(document.activeElement) ? document.activeElement.dataset.act : "";
    const buttons = [
      ["approve", act("Approve", "a", "go", () => this.approve(), card.may_approve)],
      ["edit", act("Edit", "e", "", () => this.open("edit"), card.may_edit)],
      ["answer", act("Answer", "w", "", () => this.open("answer"))],
      ["reject", act("Reject", "x", "no", () => this.open("reject"))],
      ["note", act("Note", "n", "quiet", () => this.openNote())],
      ["standing", act("Approve this kind…", "A", "quiet", () => this.desk.standing(card), card.may_approve)],
    ];
    for (const [name, made] of buttons) made.dataset.act = name;
    const state = sending ? "Sending…" : other ? `${plain(card.writer)} is writing an answer.` : card.may_approve ? "" : "Nothing is behind it that could answer: answer it or reject it.";
    fill(this.bar, buttons.map(([, made]) => made), el("p", { class: "form-state", role: "status" }, state), this.#noteField(card));
    if (focused) this.bar.querySelector(`[data-act=${focused}]`)?.focus();
  }

  #noteField(card) {
    const text = readDraft(card.request_id, "note") ?? "";
    if (!text && this.#note !== card.request_id) return null;
    const field = el("input", { type: "text", id: "note", value: text, maxlength: "2000", autocomplete: "off", on: { input: () => (field.value ? keepDraft(card.request_id, "note", field.value) : dropDraft(card.request_id, "note")) } });
    return el("div", { class: "note" }, labelled("Note for the decision log, sent with the decision", field));
  }

  #drawProblem() {
    const problem = this.store.problems.get(this.#shown);
    if (problem && this.form?.problem(problem)) fill(this.problems);
    else this.#tell(problem ? problem.message : "");
  }

  #tell(words) {
    say(this.problems, words);
  }

  #ready() {
    const card = this.card;
    if (!card || this.store.sending.has(card.request_id)) return null;
    if (card.writer && card.writer !== this.desk.operator()) return null;
    if (this.armed()) return card;
    this.#tell("This card has just appeared: look at it, then press again.");
    return null;
  }

  approve() {
    const card = this.#ready();
    if (!card) return;
    if (!card.may_approve) this.#tell("Nothing is behind it that could answer: answer it or reject it.");
    else if (this.form) this.#tell("Close the form first (Esc); your draft is kept.");
    else this.desk.decide(card, "approve_request", {});
  }

  open(name) {
    const card = this.#ready();
    if (!card) return;
    if (name === "edit" && !card.may_edit) return this.#tell("This cannot be edited: answer it or reject it.");
    if (this.form?.name === name) return this.form.focus();
    this.#leaveForm();
    this.#tell("");
    this.form = new FORMS[name](card, this.desk, () => this.back());
    fill(this.place, this.form.element);
    this.panel.dataset.work = name;
    this.form.focus();
    if (narrow()) this.place.scrollIntoView({ block: "start" });
  }

  openNote() {
    if (!this.card) return;
    this.#note = this.#shown;
    this.#drawBar();
    byId("note")?.focus();
  }

  /** Closes the form; false if there was none. */
  back() {
    if (!this.form) return false;
    this.#leaveForm();
    byId("card-title").focus();
    return true;
  }

  submit() {
    if (this.form && !this.store.sending.has(this.#shown)) this.form.submit();
  }

  #leaveForm() {
    this.form?.close();
    this.form = null;
    fill(this.place);
    delete this.panel.dataset.work;
  }
}

/** One column: there the whole page scrolls, and the head of the card comes first. */
export const narrow = () => window.matchMedia("(max-width: 52rem)").matches;

function title(card) {
  if (card.call) return `${card.call.name} wants to run`;
  if (card.kind === "response") return `Answer of ${card.model}`;
  return oneLine(lastText(card), 90) || `${count(card.chat?.length ?? 0)} messages`;
}
