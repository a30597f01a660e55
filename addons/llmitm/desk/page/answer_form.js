// Answering in the model's place: text, reasoning and tool calls at once, or live as it is typed.

import { CallEditor } from "./call_editor.js";
import { button, el, labelled, say } from "./dom.js";
import { dropDraft, keepDraft, readDraft } from "./drafts.js";
import { LiveText } from "./live_text.js";

const REASONS = [
  ["", "as fits (stop, or tool calls)"],
  ["stop", "stop: the answer is complete"],
  ["tool_calls", "tool calls: results are awaited"],
  ["length", "length: cut off by the limit"],
  ["refusal", "refusal: the model declines"],
  ["content_filter", "content filter"],
];

const PLACES = {
  request: "Answer in the model’s place",
  response: "Answer in place of the held one",
  tool_call: "Say this in place of the tool call",
};

export class AnswerForm {
  name = "answer";

  constructor(card, desk, close) {
    this.card = card;
    this.desk = desk;
    const draft = readDraft(card.request_id, "answer") ?? {};
    const resumed = card.state === "writing" && card.writer === desk.operator();
    // What had left before a reload, and is not part of an answer that goes on, has to leave again.
    const before = resumed ? "" : (draft.sent ?? "");
    this.live = false;
    this.keep = () => this.#keep();
    this.text = el("textarea", { rows: "6", value: before + (draft.text ?? ""), id: "answer-text", on: { input: this.keep } });
    this.reasoning = el("textarea", { rows: "3", value: draft.reasoning ?? "", on: { input: this.keep } });
    this.reason = el("select", { on: { change: this.keep } }, REASONS.map(([value, words]) => el("option", { value }, words)));
    this.reason.value = draft.reason ?? "";
    this.stream = el("input", { type: "checkbox", id: "as-i-type", "aria-describedby": "as-i-type-hint", on: { change: () => this.#switch() } });
    this.state = el("p", { class: "form-state", role: "status" });
    this.error = el("p", { class: "form-error", role: "alert" });
    this.calls = new CallEditor({ tools: card.tools ?? [], schemas: () => desk.tools(card.request_id), changed: this.keep });
    this.liveText = new LiveText({ field: this.text, send: (content) => desk.say(card.request_id, "response_chunk", { content }), told: (words) => say(this.state, words), left: () => this.#store(), sent: resumed ? (draft.sent ?? "") : "" });
    this.send = button("Send answer", { key: "Ctrl+Enter", keys: "Control+Enter", kind: "primary", on: { click: () => this.submit() } });
    this.element = this.#draw(close);
    for (const call of draft.calls ?? []) this.calls.add(call.name, call.text, call.id);
    if (resumed) this.#goLive();
    else if (this.text.value || draft.calls?.length) say(this.state, "Your draft is back.");
  }

  #draw(close) {
    const hint = this.card.stream ? "Words leave as you type them; what is sent cannot be taken back." : "This client takes its answer whole: it gets it when you finish.";
    this.toggle = el("div", { class: "choice" }, this.stream, el("label", { htmlFor: "as-i-type" }, "Stream as I type"), el("span", { class: "hint", id: "as-i-type-hint" }, hint));
    this.reasoningSend = button("Send the reasoning", { kind: "quiet", hidden: true, on: { click: () => this.#sendReasoning() } });
    return el(
      "form",
      { class: "work answer", "aria-labelledby": "work-title", on: { submit: (event) => event.preventDefault() } },
      el("h3", { id: "work-title", tabindex: "-1" }, PLACES[this.card.kind] ?? PLACES.request),
      this.card.kind === "request" ? this.toggle : null,
      el("div", { class: "field" }, el("label", { htmlFor: "answer-text" }, "Text of the answer"), this.liveText.element, this.text),
      el("details", { class: "more", open: Boolean(this.reasoning.value) }, el("summary", {}, "Reasoning, optional"), labelled("Reasoning", this.reasoning, { hideLabel: true }), this.reasoningSend),
      this.calls.element,
      labelled("Finish reason", this.reason),
      this.error,
      el("div", { class: "buttons" }, this.send, button("Back", { key: "Esc", kind: "quiet", on: { click: close } }), this.state),
    );
  }

  focus() {
    this.text.focus();
  }

  #keep() {
    if (this.live) this.liveText.typed();
    this.#store();
  }

  #store() {
    const content = { text: this.text.value, reasoning: this.reasoning.value, reason: this.reason.value, calls: this.calls?.drafts() ?? [], sent: this.liveText?.sent ?? "" };
    if (!content.text && !content.reasoning && !content.calls.length && !content.sent) {
      dropDraft(this.card.request_id, "answer");
      return;
    }
    const kept = keepDraft(this.card.request_id, "answer", content);
    if (!kept) say(this.state, "This browser keeps no draft: it would be lost by a reload.");
    say(this.error, "");
  }

  #switch() {
    if (!this.stream.checked || this.live) return;
    this.stream.disabled = true;
    if (!this.desk.begin(this.card)) {
      this.stream.checked = false;
      this.stream.disabled = false;
    }
  }

  /** The server let this operator begin: from here on every word leaves. */
  began() {
    if (!this.live) this.#goLive();
  }

  #goLive() {
    this.live = true;
    this.stream.checked = true;
    this.stream.disabled = true;
    this.reasoningSend.hidden = false;
    this.element.classList.add("live");
    this.send.firstChild.textContent = "Finish the answer";
    this.calls.live((call) => this.desk.say(this.card.request_id, "add_tool_call", { tool_call: call }) && this.#called(call));
    this.liveText.begin();
    this.text.focus();
  }

  /** The server no longer lets this operator write: the line broke before anything had arrived. */
  dropped() {
    if (!this.live) return;
    this.live = false;
    this.stream.checked = false;
    this.stream.disabled = false;
    this.reasoningSend.hidden = true;
    this.element.classList.remove("live");
    this.send.firstChild.textContent = "Send answer";
    this.calls.live(null);
    this.liveText.takeBack();
    say(this.state, "The connection broke before anything had arrived. Your text is whole again.");
    this.#keep();
  }

  #called(call) {
    say(this.state, `The call of ${call.function.name} is sent.`);
    return true;
  }

  #sendReasoning() {
    const reasoning = this.reasoning.value;
    if (!reasoning || !this.desk.say(this.card.request_id, "response_chunk", { reasoning })) return;
    this.reasoning.value = "";
    say(this.state, "The reasoning is sent.");
    this.#keep();
  }

  submit() {
    const wrong = this.calls.wrong();
    if (wrong) {
      say(this.error, `Not sent: the arguments of ${wrong.name} have mistakes.`);
      wrong.focus();
      return;
    }
    const said = { content: this.text.value || null, reasoning: this.reasoning.value || null, calls: this.calls.values() };
    if (this.live) this.#finish(said);
    else if (!said.content && !said.calls.length) say(this.error, "Nothing to send yet: write a text or add a tool call.");
    else this.desk.decide(this.card, "complete_response", { content: said.content, ...(said.reasoning ? { reasoning: said.reasoning } : {}), tool_calls: said.calls, ...this.#reason() });
  }

  #finish({ reasoning, calls }) {
    if (reasoning) this.#sendReasoning();
    if (!this.liveText.flush()) return;
    for (const call of [...this.calls.calls]) if (this.desk.say(this.card.request_id, "add_tool_call", { tool_call: call.value() })) this.calls.remove(call);
    this.#keep();
    this.desk.decide(this.card, "finish_response", this.#reason());
  }

  #reason() {
    return this.reason.value ? { finish_reason: this.reason.value } : {};
  }

  checked() {}

  problem(error) {
    if (this.live && ["gone", "not_found", "already_decided"].includes(error.code)) this.liveText.stop();
    if (!this.live) {
      this.stream.checked = false;
      this.stream.disabled = false;
    }
    return false;
  }

  /** Leaving the page now would end an answer in its middle. */
  get unfinished() {
    return this.live && !this.desk.store.sending.has(this.card.request_id);
  }

  close() {
    this.liveText.flush();
    this.liveText.stop();
    this.#keep();
  }
}

/** What a person had written, to copy when its card is over: text of a kept draft. */
export function draftText(id) {
  const answer = readDraft(id, "answer");
  const reject = readDraft(id, "reject");
  const edit = readDraft(id, "edit");
  const calls = (answer?.calls ?? []).map((call) => `${call.name} ${call.text}`);
  return [edit?.text, answer?.reasoning, answer ? `${answer.sent ?? ""}${answer.text ?? ""}` : "", ...calls, reject?.message].filter(Boolean).join("\n\n");
}

