// Saying no: what the client is told, and as which kind of thing.

import { button, el, labelled } from "./dom.js";
import { keepDraft, readDraft } from "./drafts.js";

const FORMS = {
  error: ["An error", "The client sees the request fail with this message."],
  refusal: ["A refusal of the model", "The client reads this message as the model's own words."],
  tool_result: ["A result of the tool", "The model reads this message as what the tool gave back, and goes on."],
};

export class RejectForm {
  name = "reject";

  constructor(card, desk, close) {
    this.card = card;
    this.desk = desk;
    const draft = readDraft(card.request_id, "reject");
    this.message = el("textarea", { rows: "3", value: draft?.message ?? "", placeholder: "Not allowed here.", on: { input: () => this.#keep() } });
    const forms = Object.keys(FORMS).filter((form) => form !== "tool_result" || card.kind === "tool_call");
    const chosen = draft?.form ?? (card.kind === "tool_call" ? "tool_result" : "error");
    this.choices = forms.map((form) => el("input", { type: "radio", name: "form", id: `form-${form}`, value: form, checked: form === chosen, "aria-describedby": `form-${form}-hint`, on: { change: () => this.#keep() } }));
    const rows = this.choices.map((choice) => el("div", { class: "choice" }, choice, el("label", { htmlFor: choice.id }, FORMS[choice.value][0]), el("span", { class: "hint", id: `${choice.id}-hint` }, FORMS[choice.value][1])));
    this.element = el(
      "form",
      { class: "work reject", "aria-labelledby": "work-title", on: { submit: (event) => event.preventDefault() } },
      el("h3", { id: "work-title", tabindex: "-1" }, "Reject"),
      labelled("Message to the client", this.message),
      el("fieldset", {}, el("legend", {}, "The client gets it as"), rows),
      el("div", { class: "buttons" }, button("Reject", { key: "Ctrl+Enter", keys: "Control+Enter", kind: "danger", on: { click: () => this.submit() } }), button("Back", { key: "Esc", kind: "quiet", on: { click: close } })),
    );
  }

  get #form() {
    return this.choices.find((choice) => choice.checked)?.value ?? "error";
  }

  #keep() {
    keepDraft(this.card.request_id, "reject", { message: this.message.value, form: this.#form });
  }

  focus() {
    this.message.focus();
  }

  submit() {
    this.desk.decide(this.card, "reject_request", { reason: this.message.value.trim(), form: this.#form });
  }

  checked() {}

  problem() {
    return false;
  }

  close() {}
}
