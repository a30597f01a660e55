// Tool calls of an answer that a person writes: chosen from the tools on offer, arguments as JSON
// with what the tool's schema says about them.

import { button, el, fill, labelled, say } from "./dom.js";
import { mistakes, properties, skeleton } from "./schema.js";
import { oneLine, plain, visible } from "./text.js";

let serial = 0;

const newId = () => `call_${crypto.getRandomValues(new Uint32Array(2)).join("")}`;

export class CallEditor {
  /** tools: names; schemas(): a promise of a Map from name to {description, parameters}; changed(): for drafts;
   *  send(call, editor): sends one call at once while an answer is written live, null = not live. */
  constructor({ tools, schemas, changed }) {
    this.tools = tools;
    this.known = new Map();
    this.changed = changed;
    this.calls = [];
    this.sendOne = null;
    this.list = el("div", { class: "calls" });
    this.choice = el("select", {}, tools.map((name) => el("option", { value: name }, plain(oneLine(name, 80)))));
    const add = button("Add the call", { kind: "quiet", on: { click: () => this.add(this.choice.value).focus() } });
    const adding = tools.length ? el("div", { class: "row end" }, labelled("Tool on offer", this.choice), add) : el("p", { class: "hint" }, "The client offers no tools.");
    this.element = el("fieldset", { class: "call-editor" }, el("legend", {}, "Tool calls"), this.list, adding);
    this.ready = schemas()
      .then((known) => {
        this.known = known;
        // What a provider runs by itself cannot be called by an answer.
        for (const option of [...this.choice.options]) if (known.get(option.value)?.kind === "server") option.remove();
        for (const call of this.calls) call.hints();
      })
      .catch(() => {});
  }

  add(name, argumentsText = null, id = newId()) {
    const call = new OneCall(this, name, argumentsText, id);
    this.calls.push(call);
    this.list.append(call.element);
    call.hints();
    this.changed();
    return call;
  }

  remove(call) {
    this.calls = this.calls.filter((one) => one !== call);
    call.element.remove();
    this.changed();
    this.choice.focus();
  }

  /** In an answer that is written live each call is sent by itself. */
  live(send) {
    this.sendOne = send;
    for (const call of this.calls) call.live();
  }

  /** Calls as messages carry them. */
  values() {
    return this.calls.map((call) => call.value());
  }

  /** The first call with a mistake, null if there is none. */
  wrong() {
    return this.calls.find((call) => call.judge().length) ?? null;
  }

  drafts() {
    return this.calls.map((call) => ({ id: call.id, name: call.name, text: call.area.value }));
  }
}

class OneCall {
  constructor(editor, name, argumentsText, id) {
    serial += 1;
    this.editor = editor;
    this.name = name;
    this.id = id;
    this.begun = argumentsText === null;
    this.area = el("textarea", { class: "code", rows: "4", spellcheck: "false", autocapitalize: "off", id: `arguments-${serial}`, value: argumentsText ?? "{}", on: { input: () => this.#typed() } });
    this.told = el("p", { class: "form-error", role: "alert", id: `arguments-${serial}-told` });
    this.hint = el("div", { class: "schema", id: `arguments-${serial}-schema` });
    this.area.setAttribute("aria-describedby", `${this.told.id} ${this.hint.id}`);
    this.label = el("label", { htmlFor: this.area.id }, "Arguments, a JSON object");
    this.buttons = el("div", { class: "buttons" });
    this.element = el("div", { class: "tool call", role: "group", "aria-label": `Call of ${plain(name)}` }, el("h4", {}, "Calls ", el("code", {}, visible(name))), this.label, this.area, this.told, this.hint, this.buttons);
    this.live();
  }

  live() {
    const send = this.editor.sendOne;
    const sending = send ? button("Send this call", { kind: "primary", on: { click: () => this.#send(send) } }) : null;
    fill(this.buttons, sending, button(`Remove the call of ${plain(oneLine(this.name, 80))}`, { kind: "quiet", on: { click: () => this.editor.remove(this) } }));
  }

  #send(send) {
    if (this.judge().length) this.area.focus();
    else if (send(this.value())) this.editor.remove(this);
  }

  get schema() {
    const known = this.editor.known.get(this.name);
    return known?.parameters ?? known?.schema ?? known?.input_schema ?? null;
  }

  /** A custom tool takes free text, no JSON. */
  get #free() {
    return this.editor.known.get(this.name)?.kind === "custom";
  }

  hints() {
    const schema = this.schema;
    if (this.#free) {
      this.label.textContent = "Arguments, free text";
      if (this.begun && this.area.value === "{}") this.area.value = "";
    }
    if (schema && this.begun && this.area.value === "{}") this.area.value = JSON.stringify(skeleton(schema), null, 2);
    this.area.rows = Math.min(14, Math.max(4, this.area.value.split("\n").length + 1));
    const rows = properties(schema).map(({ name, type, required, words }) => el("li", {}, el("code", {}, visible(name)), ` ${plain(type)}${required ? ", required" : ""}`, words ? el("span", { class: "hint" }, " ", visible(words)) : null));
    const about = this.editor.known.get(this.name)?.description;
    fill(this.hint, about ? el("p", { class: "hint" }, visible(about)) : null, rows.length ? el("ul", {}, rows) : null);
    this.judge();
  }

  #typed() {
    this.begun = false;
    this.judge();
    this.editor.changed();
  }

  judge() {
    const found = this.#free ? [] : mistakes(this.area.value, this.schema);
    say(this.told, found.join("\n"));
    this.area.setAttribute("aria-invalid", String(found.length > 0));
    return found;
  }

  value() {
    return { id: this.id, type: this.#free ? "custom" : "function", function: { name: this.name, arguments: this.area.value } };
  }

  focus() {
    this.area.focus();
  }
}
