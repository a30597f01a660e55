// Elements from data. The only place that makes elements: text becomes text nodes, never markup,
// so nothing that a prompt says can become part of the page.

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "tabIndex", "open", "max", "htmlFor", "readOnly"]);

/** A new element. props: attributes, `on: {event: listener}`, `data: {name: value}`, or the
 *  properties above; null, undefined and false leave an attribute out. children: strings,
 *  elements, lists of them; null is skipped. */
export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined) continue;
    if (name === "on") for (const [event, told] of Object.entries(value)) made.addEventListener(event, told);
    else if (name === "data") Object.assign(made.dataset, value);
    else if (PROPERTIES.has(name)) made[name] = value;
    else if (value !== false) made.setAttribute(name, value === true ? "" : String(value));
  }
  put(made, children);
  return made;
}

function put(parent, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) put(parent, child);
    else parent.append(child);
  }
}

/** Replaces everything in an element. */
export function fill(parent, ...children) {
  parent.replaceChildren();
  put(parent, children);
  return parent;
}

/** Sets text only where it differs: a live region must not speak again for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const byId = (id) => document.getElementById(id);

/** A button with its key shown. key: what the person presses, also told to assistive technology. */
export function button(label, { key = "", keys = "", kind = "", ...props } = {}) {
  const hint = key ? el("kbd", { "aria-hidden": "true" }, key) : null;
  const shortcut = keys || (key.length === 1 ? key : "");
  return el("button", { type: "button", class: `button ${kind}`.trim(), "aria-keyshortcuts": shortcut || null, ...props }, el("span", {}, label), hint);
}

let serial = 0;

/** A label and its field, tied together. */
export function labelled(label, field, { hint = "", hideLabel = false } = {}) {
  serial += 1;
  field.id ||= `field-${serial}`;
  const told = hint ? el("p", { class: "hint", id: `${field.id}-hint` }, hint) : null;
  if (told) field.setAttribute("aria-describedby", told.id);
  return el("div", { class: "field" }, el("label", { htmlFor: field.id, class: hideLabel ? "unseen" : null }, label), field, told);
}
