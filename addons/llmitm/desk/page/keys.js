// Keys. A letter acts only outside of fields and dialogs, never while a key repeats, never with a
// modifier, and not at all where the person has switched letters off.

import { readSetting } from "./drafts.js";

const FIELDS = "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]";

export const lettersOn = () => readSetting("letters") !== "off";

/** acts: {key: told(event)}; always: those with Ctrl+Enter and Escape; inList(): arrows belong to the list. */
export function listenToKeys({ acts, send, back, inList }) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || event.repeat && !["j", "k", "ArrowDown", "ArrowUp"].includes(event.key)) return;
    const dialog = document.querySelector("dialog[open]");
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      if (dialog) return;
      event.preventDefault();
      send();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || dialog) return;
    if (event.key === "Escape") {
      back(event);
      return;
    }
    if (event.target.closest?.(FIELDS)) return;
    const arrow = { ArrowDown: "j", ArrowUp: "k" }[event.key];
    if (arrow && !inList(event.target)) return;
    if (!arrow && !lettersOn()) return;
    const act = acts[arrow ?? event.key];
    if (!act) return;
    event.preventDefault();
    act(event);
  });
}
