// Numbers and times as a person reads them. Times are seconds since the epoch, of the server's clock.

let skew = 0;

/** Seconds that the server's clock is ahead of this one; below two it is taken for delay. */
export function setServerTime(seconds) {
  if (!Number.isFinite(seconds)) return;
  const ahead = seconds - Date.now() / 1000;
  skew = Math.abs(ahead) < 2 ? 0 : ahead;
}

export const now = () => Date.now() / 1000 + skew;

/** Seconds from a number of seconds or an ISO text; null if it is neither. */
export function seconds(value) {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  const read = typeof value === "string" ? Date.parse(value) / 1000 : NaN;
  return Number.isFinite(read) ? read : null;
}

/** "12 s", "3 min", "2 h 05 min". */
export function span(given) {
  const whole = Math.max(0, Math.round(given));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

/** "4:07", "58 s" for what is left. */
export function left(given) {
  const whole = Math.max(0, Math.ceil(given));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  return span(whole);
}

export function clock(given) {
  const at = seconds(given);
  return at === null ? "" : new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

export function money(usd) {
  if (typeof usd !== "number") return "";
  if (usd === 0) return "$0";
  return usd < 0.01 ? `$${usd.toPrecision(2)}` : `$${usd.toFixed(usd < 1 ? 3 : 2)}`;
}

export const count = (given) => (typeof given === "number" ? given.toLocaleString("en") : "");

export function tokens(given) {
  if (typeof given !== "number") return "";
  return given < 10000 ? `${count(given)} tokens` : `${(given / 1000).toFixed(given < 100000 ? 1 : 0)}k tokens`;
}

export const many = (given, one, more = `${one}s`) => `${count(given)} ${given === 1 ? one : more}`;

export const KINDS = { request: "Request", response: "Answer", tool_call: "Tool call" };
export const kindName = (kind) => KINDS[kind] ?? String(kind ?? "");

const DONE = { approve: "approved", edit: "edited and sent", answer: "answered", reject: "rejected", timeout: "ended by the time limit", cancelled: "cancelled", shutdown: "refused at shutdown", full: "let through: too many waited" };
export const doneName = (action) => DONE[action] ?? String(action ?? "");

const AFTER = { approve: "approved", reject: "rejected", answer: "answered by rule" };
export const afterName = (action) => AFTER[action] ?? "decided by rule";
