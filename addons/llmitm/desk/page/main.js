// The review page: puts its parts together.

import { CardPanel, narrow } from "./card_panel.js";
import { connect } from "./connection.js";
import { Desk, sortOf, sortWords } from "./desk.js";
import { byId, say } from "./dom.js";
import { dropAll, keepSetting, readSetting } from "./drafts.js";
import { History, StandingDialog } from "./history.js";
import { lettersOn, listenToKeys } from "./keys.js";
import { Notices } from "./notices.js";
import { QueueList } from "./queue_list.js";
import { ending, Store } from "./store.js";

const CHOSEN = "llmitm.chosen";

const store = new Store();
const line = connect({ heard: (message) => store.hear(message), me: drawMe, state: (link) => store.setLink(link) });
const standing = new StandingDialog(store, (...given) => desk.decide(...given));
const desk = new Desk(store, line, { standing: (card) => panel.armed() && standing.open(card, sortWords(sortOf(card))) });
const notices = new Notices(store, { chosen: (id) => choose(id, { open: true }) });
const history = new History(store, desk, notices);
const queue = new QueueList(store, { chosen: choose });
const panel = new CardPanel(store, desk);

/** open: on a narrow screen the card takes the place of the list. */
function choose(id, { open = false, focus = "" } = {}) {
  if (!id) return;
  store.choose(id);
  sessionStorage.setItem(CHOSEN, id);
  if (open) document.body.dataset.view = "card";
  queue.draw();
  if (focus === "list") queue.focusChosen();
  else if (focus === "card" || (open && narrow())) byId("card-title")?.focus({ preventScroll: true });
}

function step(by, event) {
  const id = queue.neighbour(by);
  const inList = byId("cards").contains(event.target);
  if (!id) return;
  choose(id, { focus: inList ? "list" : "" });
  document.querySelector(`[data-id="${CSS.escape(id)}"]`)?.scrollIntoView({ block: "nearest" });
}

function toList() {
  document.body.dataset.view = "queue";
  if (narrow()) queue.focusChosen();
}

// After one's own decision the next card is shown; what somebody else decided stays in view.
let next = "";
store.on("sending", (id) => {
  if (store.sending.has(id)) next = queue.neighbour(1) || queue.neighbour(-1);
});
store.on("gone", (card, past, mine) => {
  if (!card) return;
  if (!mine) {
    if (card.request_id === store.chosen) notices.tell(ending(past));
    return;
  }
  notices.tell(ending(past));
  if (past.by !== store.operator) return;
  dropAll(card.request_id);
  if (card.request_id !== store.chosen) return;
  const id = store.cards.has(next) ? next : (store.waiting()[0]?.request_id ?? "");
  store.choose(id);
  panel.show({ alone: true });
  if (id) byId("card-title").focus({ preventScroll: true });
  else toList();
});

store.on("snapshot", () => {
  if (store.chosen && store.card(store.chosen)) return;
  const before = sessionStorage.getItem(CHOSEN);
  const id = store.cards.has(before) ? before : (store.waiting()[0]?.request_id ?? "");
  if (id) store.choose(id);
});
store.on("new", (card) => {
  if (!store.chosen && !narrow()) {
    store.choose(card.request_id);
    panel.show({ alone: true });
  }
});

const STATES = { connecting: "Connecting…", open: "Live" };
store.on("link", drawLink);
function drawLink() {
  const { name, until, status } = store.link;
  const place = byId("link");
  place.dataset.state = name;
  byId("link-now").hidden = name !== "waiting";
  byId("sign-in").hidden = name !== "signed_out";
  byId("offline").hidden = name !== "waiting" && name !== "signed_out";
  if (name === "signed_out" && status === 401) location.assign("login.html");
  if (name === "waiting") {
    say(byId("link-words"), "No connection");
    say(byId("offline-words"), `No connection to the server. What you see may be out of date; nothing is sent. Next try in ${Math.max(0, Math.ceil((until - Date.now()) / 1000))} s.`);
  } else if (name === "signed_out") {
    say(byId("link-words"), "Not signed in");
    say(byId("offline-words"), "You are not signed in.");
  } else say(byId("link-words"), STATES[name]);
}
setInterval(() => {
  queue.tick();
  panel.tick();
  if (store.link.name === "waiting") drawLink();
}, 1000);

window.addEventListener("beforeunload", (event) => {
  if (panel.form?.unfinished) event.preventDefault();
});

function openHelp() {
  byId("letters").checked = lettersOn();
  byId("name").value = readSetting("name");
  byId("help").showModal();
}
/** Only the own port has a login to leave; inside mitmweb it is mitmweb's. */
function drawMe(me) {
  byId("sign-out").hidden = !(me?.expires_at > 0);
}
byId("sign-out").addEventListener("click", async () => {
  try {
    await desk.signOut();
    location.assign("login.html");
  } catch (error) {
    notices.alarm(`Not signed out: ${error.message}`);
  }
});
byId("name").addEventListener("change", (event) => {
  keepSetting("name", event.target.value.trim().slice(0, 40));
  line.again();
});
byId("letters").addEventListener("change", (event) => keepSetting("letters", event.target.checked ? "on" : "off"));
byId("open-help").addEventListener("click", openHelp);
byId("open-history").addEventListener("click", () => history.open());
byId("link-now").addEventListener("click", () => line.now());
byId("to-list").addEventListener("click", toList);
for (const close of document.querySelectorAll("[data-close]")) close.addEventListener("click", () => close.closest("dialog").close());
store.on("snapshot", () => say(byId("operator"), store.operator));

const toggleNarrow = () => (document.body.dataset.view === "card" ? toList() : null);
listenToKeys({
  acts: {
    j: (event) => step(1, event),
    k: (event) => step(-1, event),
    a: () => panel.approve(),
    A: () => panel.card && panel.card.may_approve && desk.standing(panel.card),
    e: () => panel.open("edit"),
    w: () => panel.open("answer"),
    x: () => panel.open("reject"),
    n: () => panel.openNote(),
    u: () => panel.jump(),
    h: () => history.open(),
    "/": () => {
      toList();
      byId("filter").focus();
    },
    "?": openHelp,
  },
  send: () => panel.submit(),
  back: (event) => {
    if (event.target.id === "filter" || event.target.id === "note") {
      if (event.target.id === "filter" && event.target.value) {
        event.target.value = "";
        event.target.dispatchEvent(new Event("input"));
      } else event.target.blur();
    } else if (!panel.back()) toggleNarrow();
  },
  inList: (target) => target === document.body || byId("cards").contains(target) || target.id === "card-title",
});

document.body.dataset.view = "queue";
