// A conversation as people read one: who says what, white space as it was, tool calls with their
// arguments, long texts folded, and what is new since the turn before.

import { button, el } from "./dom.js";
import { count, many } from "./format.js";
import { argumentRows, visible } from "./text.js";

const LONG_CHARS = 1600;
const LONG_LINES = 24;
const ROLES = { user: "User", assistant: "Assistant", system: "System", developer: "Developer", tool: "Tool" };

/** more(): loads the whole exchange, null if it is all here; shownOld: so many messages of earlier
 *  turns are shown, the others are folded away. */
export function conversation(card, { more = null, shownOld = 30 } = {}) {
  const chat = card.chat ?? [];
  const firstNew = chat.findIndex((message) => message.new);
  const isNew = firstNew > 0;
  const items = chat.map((message, index) => turn(message, { isNew: isNew && message.new, more }));
  const list = el("ol", { class: "chat" }, items);
  if (isNew) items[firstNew].before(newLine(chat.length - firstNew));
  const old = firstNew < 0 ? chat.length : firstNew;
  if (old > shownOld) fold(items.slice(0, old - shownOld), list);
  return list;
}

/** The held answer, set off from what was said before. */
export function heldAnswer(card, { more = null } = {}) {
  const messages = Array.isArray(card.response) ? card.response : [card.response];
  const items = messages.filter(Boolean).map((message) => turn(message, { more }));
  return el("section", { class: "held", "aria-labelledby": "held-title" }, el("h3", { id: "held-title" }, card.state === "writing" ? "Being written by an operator" : "Held answer: the client has not seen it"), el("ol", { class: "chat" }, items));
}

/** The held tool call, after what the model has said so far. */
export function heldCall(card, { more = null } = {}) {
  const before = [card.response ?? []].flat().map((message) => turn(message, { more }));
  const held = el("section", { class: "held", "aria-labelledby": "held-title" }, el("h3", { id: "held-title" }, "Held tool call: the client has not seen it"), piece({ type: "tool_call", ...card.call }, more));
  return before.length ? [el("ol", { class: "chat so-far", "aria-label": "Said so far" }, before), held] : [held];
}

function newLine(messages) {
  return el("li", { class: "new-line", id: "first-new", tabindex: "-1" }, el("span", {}, `New since the last turn: ${many(messages, "message")}`));
}

function fold(items, list) {
  for (const item of items) item.hidden = true;
  const show = button(`Show ${many(items.length, "earlier message")}`, {
    kind: "quiet",
    on: {
      click: () => {
        for (const item of items) item.hidden = false;
        show.parentElement.remove();
        items[0].querySelector("h3")?.focus();
      },
    },
  });
  list.prepend(el("li", { class: "earlier" }, show));
}

function turn(message, { isNew = false, more = null }) {
  const role = Object.hasOwn(ROLES, message.role) ? ROLES[message.role] : visible(String(message.role ?? ""));
  const name = message.name ? el("span", { class: "name" }, visible(String(message.name))) : null;
  const head = el("h3", { class: "role", tabindex: "-1" }, role, name, isNew ? el("span", { class: "badge new" }, "new") : null);
  const parts = (message.parts ?? []).map((part) => piece(part, more));
  const empty = parts.length ? null : el("p", { class: "hint" }, "Empty message");
  return el("li", { class: `turn ${isNew ? "is-new" : ""}`, "data-role": Object.hasOwn(ROLES, message.role) ? message.role : null }, head, parts, empty);
}

function piece(part, more) {
  const draw = DRAWN.get(part.type) ?? other;
  return draw(part, more);
}

const DRAWN = new Map([
  ["text", (part, more) => words(part, more)],
  ["reasoning", reasoning],
  ["tool_call", toolCall],
  ["tool_result", toolResult],
  ["media", (part) => media(part)],
  ["refusal", (part, more) => refusal(part, more)],
]);

const words = (part, more) => long(part, more, "text");

function reasoning(part, more) {
  const size = (part.text ?? "").length + (part.cut ?? 0);
  const label = size ? `Reasoning, ${many(size, "character")}` : "Reasoning, not readable";
  return el("details", { class: "reasoning" }, el("summary", {}, label), long(part, more, "text"));
}

function toolCall(part, more) {
  return el("div", { class: "tool call" }, el("h4", {}, "Calls ", el("code", {}, visible(part.name ?? "?")), ident(part.id)), argumentsOf(part, more));
}

function argumentsOf(part, more) {
  const text = String(part.arguments ?? "");
  const read = part.cut ? null : argumentRows(text);
  if (!text || (read?.exact && read.rows.length === 0)) return el("p", { class: "hint" }, "No arguments");
  if (!read) return long({ ...part, text }, more, "code");
  const rows = read.rows.map(([name, value]) => el("div", {}, el("dt", {}, visible(name)), el("dd", {}, long({ text: value }, null, "code"))));
  const written = read.exact ? null : el("details", { class: "more" }, el("summary", {}, "As the model wrote it"), long({ text }, null, "code"));
  return [el("dl", { class: "arguments" }, rows), written];
}

function toolResult(part, more) {
  const title = part.error ? "Result: failed" : "Result";
  const from = part.name ? [" of ", el("code", {}, visible(part.name))] : null;
  return el("div", { class: `tool result ${part.error ? "failed" : ""}` }, el("h4", {}, title, from, ident(part.id)), part.text ? long(part, more, "code") : el("p", { class: "hint" }, "Empty result"));
}

const ident = (id) => (id ? el("span", { class: "ident" }, visible(String(id))) : null);

const media = (part) => el("p", { class: "media" }, el("span", { class: "badge" }, "media"), " ", visible(part.name || part.text || "attachment, not shown"), part.name && part.text ? [" ", visible(part.text)] : null);

const refusal = (part, more) => el("div", { class: "tool failed" }, el("h4", {}, "Refusal"), long(part, more, "text"));

const other = (part, more) => el("div", { class: "tool" }, el("h4", {}, visible(part.name || part.type || "Other part")), part.text ? long(part, more, "code") : el("p", { class: "hint" }, "Passed on as it is"));

/** A text that folds when it is long, and says what was left out. */
function long(part, more, kind) {
  const text = String(part.text ?? "");
  const block = el("div", { class: `words ${kind}`, dir: "auto" }, visible(text));
  const isLong = text.length > LONG_CHARS || text.split("\n", LONG_LINES + 1).length > LONG_LINES;
  const rest = part.cut && more ? button(`Load the other ${many(part.cut, "character")}`, { kind: "quiet", on: { click: more } }) : null;
  const missing = part.cut && !more ? el("p", { class: "hint" }, `${many(part.cut, "character")} more`) : null;
  if (!isLong) return el("div", { class: "long" }, block, rest, missing);
  block.classList.add("folded");
  const lines = text.split("\n").length;
  const closed = `Show all ${count(text.length)} characters, ${many(lines, "line")}`;
  const toggle = button(closed, {
    kind: "quiet",
    "aria-expanded": "false",
    on: {
      click: () => {
        const open = block.classList.toggle("folded");
        toggle.setAttribute("aria-expanded", String(!open));
        toggle.firstChild.textContent = open ? closed : "Show less";
      },
    },
  });
  return el("div", { class: "long" }, block, toggle, rest, missing);
}
