// What a person has typed, kept in this tab until it is sent or thrown away: survives a reload and
// a card that is gone. Bounded: the oldest drafts go first.

const PREFIX = "llmitm.draft.";
const MOST = 40;

const keyOf = (id, form) => `${PREFIX}${form}.${id}`;

/** The draft of a card and form ("edit", "answer", "reject", "note"), null if there is none. */
export function readDraft(id, form) {
  try {
    return JSON.parse(sessionStorage.getItem(keyOf(id, form)))?.content ?? null;
  } catch {
    return null;
  }
}

/** False if the browser does not keep it (full or forbidden): the person must be told. */
export function keepDraft(id, form, content) {
  try {
    makeRoom();
    sessionStorage.setItem(keyOf(id, form), JSON.stringify({ at: Date.now(), content }));
    return true;
  } catch {
    return false;
  }
}

export function dropDraft(id, form) {
  sessionStorage.removeItem(keyOf(id, form));
}

/** Forms of a card that have a draft. */
export function draftsOf(id) {
  return ["edit", "answer", "reject"].filter((form) => readDraft(id, form) !== null);
}

export function dropAll(id) {
  for (const form of ["edit", "answer", "reject", "note"]) dropDraft(id, form);
}

function makeRoom() {
  const kept = Object.keys(sessionStorage).filter((key) => key.startsWith(PREFIX));
  if (kept.length < MOST) return;
  const age = (key) => {
    try {
      return JSON.parse(sessionStorage.getItem(key)).at ?? 0;
    } catch {
      return 0;
    }
  };
  kept.sort((one, other) => age(one) - age(other));
  for (const key of kept.slice(0, kept.length - MOST + 1)) sessionStorage.removeItem(key);
}

/** A setting of this browser ("notify", "keys"), as text; empty if it was never set. */
export function readSetting(name) {
  try {
    return localStorage.getItem(`llmitm.${name}`) ?? "";
  } catch {
    return "";
  }
}

export function keepSetting(name, value) {
  try {
    localStorage.setItem(`llmitm.${name}`, value);
  } catch {
    // A browser that keeps nothing still works; the setting lasts until the page is closed.
  }
}
