// Editing what is held as a YAML document: checked while it is typed, mistakes by line, warnings
// with their cost that must be confirmed, a draft that is never lost.

import { button, el, fill, say } from "./dom.js";
import { dropDraft, keepDraft, readDraft } from "./drafts.js";
import { many, money } from "./format.js";
import { YamlArea } from "./yaml_area.js";

const PAUSE_MS = 300;
const PATIENCE_MS = 6000;

export class EditForm {
  name = "edit";
  #timer = 0;
  #patience = 0;
  #checking = null;
  #checked = null;
  #confirmed = "";

  /** desk: {check(id, document), decide(card, type, data), load(id)}; close(): back to the card. */
  constructor(card, desk, close) {
    this.card = card;
    this.digest = card.digest;
    this.desk = desk;
    this.state = el("p", { class: "form-state", id: "edit-state", role: "status" });
    this.mistakes = el("div", { class: "mistakes", role: "alert" });
    this.warnings = el("div", { class: "warnings", id: "edit-warnings", role: "alert" });
    this.yaml = new YamlArea({ label: "Document to edit, YAML", describedBy: "edit-state edit-keys", changed: () => this.#typed() });
    this.send = button("Send edited", { key: "Ctrl+Enter", keys: "Control+Enter", kind: "primary", on: { click: () => this.submit() } });
    this.reset = button("Start over", { kind: "quiet", on: { click: () => this.#startOver() } });
    this.element = el(
      "form",
      { class: "work edit", "aria-labelledby": "work-title", on: { submit: (event) => event.preventDefault() } },
      el("h3", { id: "work-title", tabindex: "-1" }, "Edit"),
      this.yaml.element,
      el("p", { class: "hint unseen", id: "edit-keys" }, "Control and Enter sends, Escape goes back and keeps the draft, Tab leaves the field."),
      this.mistakes,
      this.warnings,
      el("div", { class: "buttons" }, this.send, button("Back", { key: "Esc", kind: "quiet", on: { click: close } }), this.reset, this.state),
    );
    this.#open();
  }

  async #open() {
    let base = this.card.document;
    if (this.card.document_cut) {
      say(this.state, "Loading the whole document…");
      try {
        base = (await this.desk.load(this.card.request_id)).document;
      } catch (error) {
        fill(this.mistakes, el("p", {}, `The document cannot be loaded: ${error.message} `, button("Try again", { kind: "quiet", on: { click: () => this.#open() } })));
        return;
      }
      fill(this.mistakes);
    }
    const draft = readDraft(this.card.request_id, "edit");
    if (draft) {
      this.digest = draft.digest;
      base = draft.digest === this.card.digest ? base : draft.base;
    }
    this.yaml.set(draft?.text ?? base, base);
    this.yaml.area.setSelectionRange(0, 0);
    this.#tell(draft ? "Your draft is back." : "");
    if (draft?.digest && draft.digest !== this.card.digest) this.stale();
    if (draft) this.#check();
  }

  focus() {
    this.yaml.area.focus();
  }

  /** What is held has changed since this document was made. */
  stale() {
    const load = button("Load what is held now (throws this draft away)", { kind: "quiet", on: { click: () => this.#startOver(true) } });
    fill(this.warnings, el("p", {}, "What is held has changed since you began. This edit can no longer be sent. ", load));
  }

  #startOver(anew = false) {
    dropDraft(this.card.request_id, "edit");
    if (anew) this.digest = this.card.digest;
    this.#checked = null;
    this.#confirmed = "";
    this.yaml.mark([]);
    fill(this.mistakes);
    fill(this.warnings);
    if (anew || this.digest !== this.card.digest) this.#open();
    else this.yaml.set(this.yaml.base, this.yaml.base);
    this.#tell("");
    this.focus();
  }

  #typed() {
    const kept = keepDraft(this.card.request_id, "edit", { text: this.yaml.text, base: this.yaml.base, digest: this.digest });
    this.#confirmed = "";
    this.#label();
    this.#tell(kept ? "" : "This browser keeps no draft: it would be lost by a reload.");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#check(), PAUSE_MS);
  }

  /** One check at a time; what was typed meanwhile is checked after its reply. */
  #check() {
    clearTimeout(this.#timer);
    if (this.#checking !== null || this.yaml.text === this.#checked?.text) return;
    if (!this.desk.check(this.card.request_id, this.yaml.text)) {
      this.#tell("No connection: not checked.");
      return;
    }
    this.#checking = this.yaml.text;
    clearTimeout(this.#patience);
    this.#patience = setTimeout(() => {
      this.#checking = null;
    }, PATIENCE_MS);
    this.#tell("Checking…");
  }

  /** The server's reply to a check. */
  checked({ errors = [], warnings = [] }) {
    if (this.#checking === null) return;
    this.#checked = { text: this.#checking, errors, warnings };
    this.#checking = null;
    clearTimeout(this.#patience);
    this.#show(errors, warnings);
    if (this.yaml.text !== this.#checked.text) this.#check();
  }

  /** An error of the server for this card. True: shown here. */
  problem(error) {
    if (error.code === "stale") {
      this.stale();
      return true;
    }
    if (error.code !== "confirm") return false;
    this.#checked = { text: this.yaml.text, errors: [], warnings: error.warnings ?? [] };
    this.#show([], this.#checked.warnings);
    this.#confirm();
    return true;
  }

  #show(errors, warnings) {
    this.yaml.mark(errors);
    const line = (mistake) => button(mistake.line ? `Line ${mistake.line}: ${mistake.message}` : mistake.message, { kind: "mistake", on: { click: () => this.yaml.goTo(mistake.line || 1) } });
    fill(this.mistakes, errors.length ? el("ul", {}, errors.map((mistake) => el("li", {}, line(mistake)))) : null);
    const cost = (warning) => (typeof warning.cost_usd === "number" ? el("strong", {}, ` about ${money(warning.cost_usd)}`) : null);
    fill(this.warnings, warnings.length ? el("ul", {}, warnings.map((warning) => el("li", {}, warning.say, cost(warning)))) : null);
    this.#label();
    this.#tell(errors.length ? many(errors.length, "mistake") : warnings.length ? many(warnings.length, "warning") : "No mistakes.");
  }

  #tell(words) {
    const lines = this.yaml.changedLines();
    const changed = lines ? (lines.first === lines.last ? `Line ${lines.first} changed.` : `Lines ${lines.first} to ${lines.last} changed.`) : "Nothing changed.";
    say(this.state, `${changed} ${words}`.trim());
    this.reset.hidden = !lines;
  }

  #label() {
    const sure = this.#confirmed === this.yaml.text;
    const cost = (this.#checked?.warnings ?? []).reduce((sum, { cost_usd: usd }) => sum + (usd ?? 0), 0);
    this.send.firstChild.textContent = sure ? `Send anyway${cost ? `, about ${money(cost)}` : ""}` : "Send edited";
    this.send.classList.toggle("danger", sure);
  }

  #confirm() {
    this.#confirmed = this.yaml.text;
    this.#label();
    this.#tell("Read the warnings, then send again to confirm.");
    this.send.focus();
  }

  submit() {
    const text = this.yaml.text;
    if (text === this.yaml.base) {
      this.#tell("There is nothing to send: approve it as it is.");
      return;
    }
    const known = this.#checked?.text === text ? this.#checked : null;
    if (known?.errors.length) {
      this.#tell("Not sent: correct the mistakes first.");
      this.yaml.goTo(known.errors[0].line || 1);
      return;
    }
    const sure = this.#confirmed === text;
    if (known?.warnings.length && !sure) {
      this.#confirm();
      return;
    }
    this.desk.decide({ ...this.card, digest: this.digest }, "edit_request", { document: text, ...(sure ? { anyway: true } : {}) });
  }

  close() {
    clearTimeout(this.#timer);
    clearTimeout(this.#patience);
  }
}
