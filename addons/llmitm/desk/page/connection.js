// The line to the server: one WebSocket that comes back by itself, and REST for what is too long
// for it. Who asks stands in a cookie that scripts cannot read. Nothing is ever sent again by itself: what was sent when the line broke is looked up in
// the next snapshot.

import { readSetting } from "./drafts.js";
import { setServerTime } from "./format.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15000;

export class ServerError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

function cookie(name) {
  for (const pair of document.cookie.split("; ")) {
    const at = pair.indexOf("=");
    if (pair.slice(0, at) === name) return decodeURIComponent(pair.slice(at + 1));
  }
  return "";
}

function headers() {
  const made = { Accept: "application/json" };
  const xsrf = cookie("_mitmproxy_xsrf") || cookie("_xsrf");
  if (xsrf) made["X-XSRFToken"] = xsrf;
  return made;
}

/** The address of something of the server, with the name that this person gave themselves. */
function named(path) {
  const url = new URL(path, document.baseURI);
  const name = readSetting("name");
  if (name) url.searchParams.set("operator", name);
  return url;
}

/** What a REST path below `api/v1/` answers, parsed. Raises ServerError. */
export async function ask(path, { method = "GET", body } = {}) {
  const sent = { method, headers: headers(), credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    sent.body = JSON.stringify(body);
    sent.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(named(`api/v1/${path}`), sent);
  } catch {
    throw new ServerError(0, "no_connection", "The server cannot be reached.");
  }
  setServerTime(Date.parse(answer.headers.get("Date")) / 1000);
  const told = answer.headers.get("Content-Type")?.includes("json") ? await answer.json().catch(() => null) : null;
  if (answer.ok) return told;
  const error = told?.error ?? told ?? {};
  const words = error.message ?? error.detail ?? `The server answered ${answer.status}.`;
  throw new ServerError(answer.status, error.code ?? "", String(words));
}

/** heard(message) for each message; me(who) when the server knows who this is; state({name, wait_s, why}) when the line changes:
 *  "connecting", "open", "waiting" (wait_s until the next try), "signed_out". */
export function connect({ heard, me, state }) {
  let socket = null;
  let tries = 0;
  let timer = 0;

  function retry() {
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** tries) * (0.75 + Math.random() / 2);
    tries += 1;
    state({ name: "waiting", until: Date.now() + wait });
    clearTimeout(timer);
    timer = setTimeout(open, wait);
  }

  async function allowed() {
    try {
      me(await ask("auth/me"));
      return true;
    } catch (error) {
      if (error.status !== 401 && error.status !== 403) throw error;
      state({ name: "signed_out", status: error.status });
      return false;
    }
  }

  async function open() {
    state({ name: "connecting" });
    try {
      if (!(await allowed())) return;
    } catch {
      retry();
      return;
    }
    const url = named("ws");
    url.protocol = url.protocol.replace("http", "ws");
    const opened = new WebSocket(url);
    socket = opened;
    opened.onmessage = (event) => {
      tries = 0;
      heard(JSON.parse(event.data));
    };
    opened.onopen = () => state({ name: "open" });
    opened.onclose = () => {
      if (socket !== opened) return;
      socket = null;
      retry();
    };
  }

  function now() {
    if (socket || !timer) return;
    clearTimeout(timer);
    open();
  }

  window.addEventListener("online", now);
  open();
  return {
    now,
    /** The line may be dead although it looks open: a new one brings a new snapshot. */
    again() {
      const old = socket;
      socket = null;
      old?.close();
      clearTimeout(timer);
      open();
    },
    /** False if there is no line: nothing was sent. */
    send(type, data) {
      if (socket?.readyState !== WebSocket.OPEN) return false;
      socket.send(JSON.stringify({ type, data }));
      return true;
    },
  };
}
