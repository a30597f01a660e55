// What the person's wishes become: messages to the server, one decision for one card at a time.

import { ask } from "./connection.js";
import { readDraft } from "./drafts.js";
import { KINDS } from "./format.js";

const PATIENCE_MS = 30000;
const NOT_SENT = { code: "no_connection", message: "Not sent: there is no connection to the server. Nothing was decided; send it when the connection is back." };

export class Desk {
  #tools = new Map();

  constructor(store, line, { standing }) {
    this.store = store;
    this.line = line;
    this.standing = standing;
    store.on("gone", (card) => card && this.#tools.delete(card.request_id));
  }

  operator() {
    return this.store.operator;
  }

  /** Sends a decision about what is shown: `card.digest` is what the person saw. False: not sent. */
  decide(card, type, data) {
    const id = card.request_id;
    if (!this.store.startSending(id, type)) return false;
    const note = readDraft(id, "note");
    const digest = type === "finish_response" ? {} : { digest: card.digest };
    if (!this.line.send(type, { request_id: id, ...digest, ...data, ...(note ? { note } : {}) })) {
      this.store.stopSending(id, NOT_SENT);
      return false;
    }
    // No reply at all: a new line brings a snapshot, which tells whether it was decided.
    setTimeout(() => this.store.sending.get(id) === type && this.line.again(), PATIENCE_MS);
    return true;
  }

  /** Asks to write an answer live. */
  begin(card) {
    this.store.problems.delete(card.request_id);
    return this.#plain(card.request_id, "start_response", { digest: card.digest });
  }

  /** A piece of an answer that is written live. */
  say(id, type, data) {
    return this.#plain(id, type, data);
  }

  check(id, document) {
    return this.line.send("check_edit", { request_id: id, document });
  }

  #plain(id, type, data) {
    if (this.line.send(type, { request_id: id, ...data })) return true;
    this.store.stopSending(id, NOT_SENT);
    return false;
  }

  /** The whole exchange, nothing cut. Raises ServerError. */
  load(id) {
    return ask(`requests/${encodeURIComponent(id)}`);
  }

  /** Map from name to {description, parameters, kind} of the tools on offer; raises ServerError. */
  async tools(id) {
    if (!this.#tools.has(id)) this.#tools.set(id, ask(`requests/${encodeURIComponent(id)}/tools`));
    try {
      const answer = await this.#tools.get(id);
      return new Map((answer.tools ?? answer).map((tool) => [tool.name, tool]));
    } catch (error) {
      this.#tools.delete(id);
      throw error;
    }
  }

  signOut() {
    return ask("auth/logout", { method: "POST", body: {} });
  }

  approvals() {
    return ask("approvals");
  }

  revoke(id) {
    return ask(`approvals/${encodeURIComponent(id)}`, { method: "DELETE" });
  }
}

/** What cards of one sort have in common, in words. Order as in a standing approval's `sort`. */
export function sortWords([kind, rule, client, model, tool]) {
  return [KINDS[kind] ?? kind, tool && `of ${tool}`, rule && `held by ${rule}`, client && `from ${client}`, model && `for ${model}`].filter(Boolean).join(" ");
}

export const sortOf = (card) => [card.kind, card.rule || card.reason, card.client, card.model, card.call?.name ?? ""];
