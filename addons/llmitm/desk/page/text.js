// Text of strangers, shown so that it cannot hide anything: characters that are invisible, that
// turn the writing direction or that spell hidden text are shown as marks.

import { el } from "./dom.js";

// C0 and C1 controls but tab and line feed, soft hyphen, zero width and direction marks, variation
// and tag characters (which spell hidden ASCII), interlinear marks.
const ODD = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\u{e0000}-\u{e0fff}]+/gu;
const NAMES = { 0x202a: "left-to-right embedding", 0x202b: "right-to-left embedding", 0x202c: "end of direction", 0x202d: "left-to-right override", 0x202e: "right-to-left override", 0x2066: "left-to-right isolate", 0x2067: "right-to-left isolate", 0x2068: "first strong isolate", 0x2069: "end of isolate", 0x200b: "zero width space", 0x200e: "left-to-right mark", 0x200f: "right-to-left mark", 0xfeff: "byte order mark", 0x0d: "carriage return", 0x1b: "escape", 0x00: "null", 0xad: "soft hyphen" };
const MANY = 4;

const code = (char) => `U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

/** Joiners inside words and emoji are ordinary writing, as is a carriage return before a line feed. */
function ordinary(run, text, end) {
  if (run === "\r") return text[end] === "\n";
  return (run === "\u200d" || run === "\u200c") && end > 1 && text.codePointAt(end) > 0x7f;
}

/** What tag characters spell, empty if there are none. */
function spelled(run) {
  const found = [...run].map((char) => char.codePointAt(0)).filter((point) => point >= 0xe0020 && point <= 0xe007e);
  return String.fromCharCode(...found.slice(0, 2000).map((point) => point - 0xe0000));
}

function mark(run) {
  const chars = [...run];
  const hidden = spelled(run);
  if (hidden) return el("mark", { class: "odd", title: "Invisible tag characters that a model can read" }, `hidden text: ${hidden}`);
  if (chars.length > MANY) return el("mark", { class: "odd", title: chars.slice(0, 40).map(code).join(" ") }, `${chars.length} invisible characters`);
  return chars.map((char) => el("mark", { class: "odd", title: NAMES[char.codePointAt(0)] ?? "invisible character" }, code(char)));
}

/** The text as nodes; ordinary text is one string. */
export function visible(text) {
  const nodes = [];
  let from = 0;
  for (const found of text.matchAll(ODD)) {
    const end = found.index + found[0].length;
    if (ordinary(found[0], text, end)) continue;
    nodes.push(text.slice(from, found.index), mark(found[0]));
    from = end;
  }
  nodes.push(text.slice(from));
  return nodes;
}

/** The same where only a string can stand: options, names for assistive technology, notifications. */
export function plain(text) {
  return visible(String(text ?? "")).flat().map((node) => (typeof node === "string" ? node : `[${node.textContent}]`)).join("");
}

/** One line for lists: white space folded, cut. */
export function oneLine(text, limit = 120) {
  const folded = String(text ?? "").slice(0, limit * 4).replace(/\s+/g, " ").trim();
  return folded.length > limit ? `${folded.slice(0, limit - 1)}…` : folded;
}

const OUTSIDE = /"(?:[^"\\]|\\.)*"|\s+/g;

/** Arguments of a tool call as people read them: {rows: [[name, text]], exact}, or null if the text
 *  is no JSON object. exact: the rows say all; false where the text may say more (a name given
 *  twice, a number that would be rounded, other escapes), so that it must be shown as written. */
export function argumentRows(given) {
  let read;
  try {
    read = JSON.parse(given);
  } catch {
    return null;
  }
  if (read === null || typeof read !== "object" || Array.isArray(read)) return null;
  const rows = Object.entries(read).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value, null, 2)]);
  const bare = given.replace(OUTSIDE, (piece) => (piece.startsWith('"') ? piece : ""));
  return { rows, exact: bare === JSON.stringify(read) };
}
