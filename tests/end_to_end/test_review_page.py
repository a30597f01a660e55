"""The review page in a real Chromium, against a desk that follows a script."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from browser import Page
from review_cards import CHAT, HOSTILE, WEATHER, card, held_answer, held_call, said, text
from reviewing import (  # noqa: F401  (fixtures)
    Open,
    _served,
    armed,
    artefacts,
    browser,
    choose,
    desk,
    focused,
    open_page,
    text_of,
)
from scripted_desk import ScriptedDesk

pytestmark = pytest.mark.end_to_end

CHOSEN = """document.querySelector('#cards [aria-selected="true"]')?.dataset.id"""


def decides(desk: ScriptedDesk, kind: str, action: str, by: str = "ada") -> None:
    desk.reply[kind] = lambda data: desk.decided(data["request_id"], action, by)


def test_an_approval_names_what_was_shown_and_the_next_card_follows(
    desk: ScriptedDesk, open_page: Open
) -> None:
    first, second = card("one", age_s=60), card("two", age_s=5)
    decides(desk, "approve_request", "approve")
    page = open_page(first, second)
    armed(page)
    page.press("a")
    told = desk.wait_for("approve_request")
    assert told == {"request_id": "one", "digest": first["digest"]}
    page.until(f"{CHOSEN} === 'two'")
    assert page.js("document.title") == "(1) Review · llmitm"
    assert focused(page) == "card-title"


def test_a_card_that_has_just_appeared_takes_no_decision(
    desk: ScriptedDesk, open_page: Open
) -> None:
    decides(desk, "approve_request", "approve")
    page = open_page(card("one", age_s=60), card("two"))
    armed(page)
    # The clock of the page stands still, so that "just" lasts as long as the test needs.
    page.js("{ const at = performance.now(); performance.now = () => at; }")
    page.press("a")
    desk.wait_for("approve_request")
    page.until(f"{CHOSEN} === 'two'")
    page.press("a")
    page.click("[data-act=approve]")
    page.press("x")
    page.until("document.querySelector('#card-problem').textContent.includes('just appeared')")
    assert desk.said("approve_request") == []
    assert not page.js("document.querySelector('.work')")


def test_a_decision_is_sent_once(desk: ScriptedDesk, open_page: Open) -> None:
    page = open_page(card("one"))
    armed(page)
    for _ in range(3):
        page.press("a")
        page.click("[data-act=approve]")
    desk.wait_for("approve_request")
    desk.hang_up()
    page.until("document.querySelector('#card-problem').textContent.includes('decide again')")
    assert desk.said("approve_request") == []


def test_a_broken_connection_is_visible_and_comes_back(desk: ScriptedDesk, open_page: Open) -> None:
    page = open_page(card("one"))
    page.js(
        "window.seen = []; new MutationObserver(() => seen.push(document.querySelector("
        "'#link').dataset.state)).observe(document.querySelector('#link'), {attributes: true})"
    )
    before = desk.connected
    desk.cards["late"] = card("late")
    desk.hang_up()
    page.until("document.querySelectorAll('#cards li').length === 2")
    assert "waiting" in page.js("window.seen")
    assert desk.connected == before + 1
    page.until("document.querySelector('#link').dataset.state === 'open'")


def test_what_others_decide_is_seen_and_a_draft_survives_it(
    desk: ScriptedDesk, open_page: Open
) -> None:
    page = open_page(card("one"), card("two"))
    choose(page, "one")
    page.press("w")
    page.type("My own answer")
    desk.decided("one", "approve", "ben", "fine with me")
    page.until("document.querySelector('.over')")
    told = text_of(page, ".over h3")
    assert "Approved by ben" in told
    assert "fine with me" in told
    assert page.js("document.querySelector('.over textarea').value") == "My own answer"
    assert page.js(CHOSEN) == "one"
    page.press("a")
    page.click(".over .button")
    page.until("document.querySelectorAll('#cards li').length === 1")
    assert desk.said("approve_request") == []


def test_a_change_while_it_is_looked_at_is_told(desk: ScriptedDesk, open_page: Open) -> None:
    page = open_page(card("one"))
    armed(page)
    desk.update("one", digest="d2", chat=[said("user", text("Quite another question"))])
    page.until("document.querySelector('#conversation').textContent.includes('another question')")
    assert "has changed" in text_of(page, "#card-head")
    armed(page)
    page.press("a")
    assert desk.wait_for("approve_request")["digest"] == "d2"


def test_an_error_stands_next_to_its_card(desk: ScriptedDesk, open_page: Open) -> None:
    stale = {
        "code": "stale",
        "message": "the digest is not of what is held now",
        "request_id": "one",
    }
    desk.reply["approve_request"] = lambda _: desk.say("error", stale)
    page = open_page(card("one"))
    armed(page)
    page.press("a")
    page.until(
        "document.querySelector('#card-problem').textContent.includes('not of what is held')"
    )
    desk.say("error", {"code": "rate_limited", "message": "slower, please"})
    page.until("document.querySelector('#alarm').textContent.includes('slower')")


def _checker(desk: ScriptedDesk, cost: float | None) -> None:
    def check(data: dict[str, Any]) -> None:
        bad = "temperatur:" in data["document"]
        errors = [{"line": 3, "message": "no such setting"}] if bad else []
        warnings = [{"say": "The cached prefix breaks.", "cost_usd": cost}] if cost else []
        told = {
            "request_id": data["request_id"],
            "ok": not bad,
            "errors": errors,
            "warnings": warnings,
        }
        desk.say("checked", told)

    desk.reply["check_edit"] = check


def _edit(page: Page, old: str, new: str) -> None:
    page.until("document.querySelector('.yaml')?.value")
    page.js(
        "{ const area = document.querySelector('.yaml'); area.focus();"
        f"const at = area.value.indexOf({json.dumps(old)});"
        f"area.setSelectionRange(at, at + {len(old)}); }}"
    )
    page.type(new)


def test_an_edit_is_checked_by_line_confirmed_and_survives_a_reload(
    desk: ScriptedDesk, open_page: Open
) -> None:
    _checker(desk, 0.0415)
    held = card("one")
    page = open_page(held)
    armed(page)
    page.press("e")
    _edit(page, "temperature", "temperatur")
    page.until("document.querySelector('.gutter .wrong')?.textContent === '3'")
    assert "Line 3: no such setting" in text_of(page, ".mistakes")
    page.press("Enter", ctrl=True)
    page.until("document.querySelector('#edit-state').textContent.includes('correct the mistakes')")
    page.goto(desk.url, "document.querySelectorAll('#cards li').length === 1")
    armed(page)
    page.press("e")
    page.until("document.querySelector('#edit-state').textContent.includes('Line 3 changed')")
    _edit(page, "temperatur:", "temperature:")
    _edit(page, "0.2", "0.7")
    page.until("document.querySelector('.warnings').textContent.includes('$0.042')")
    page.until("!document.querySelector('.gutter .wrong')")
    page.press("Enter", ctrl=True)
    page.until("document.querySelector('.work .primary').textContent.includes('Send anyway')")
    assert desk.said("edit_request") == []
    decides(desk, "edit_request", "edit")
    page.press("Enter", ctrl=True)
    told = desk.wait_for("edit_request")
    assert told["anyway"] is True
    assert told["digest"] == held["digest"]
    assert told["document"] == held["document"].replace("0.2", "0.7")
    page.until("document.querySelectorAll('#cards li').length === 0")
    assert page.js("Object.keys(sessionStorage).filter((key) => key.includes('draft'))") == []


def test_a_server_that_wants_a_confirmation_gets_one(desk: ScriptedDesk, open_page: Open) -> None:
    warned = {
        "code": "confirm",
        "message": "warnings",
        "request_id": "one",
        "warnings": [{"say": "A signed block is touched.", "cost_usd": None}],
    }

    def refuse(data: dict[str, Any]) -> None:
        desk.decided("one", "edit", "ada") if data.get("anyway") else desk.say("error", warned)

    desk.reply["edit_request"] = refuse
    page = open_page(card("one"))
    armed(page)
    page.press("e")
    _edit(page, "0.2", "0.9")
    page.press("Enter", ctrl=True)
    page.until("document.querySelector('.warnings').textContent.includes('signed block')")
    assert "anyway" not in desk.wait_for("edit_request")
    page.press("Enter", ctrl=True)
    assert desk.wait_for("edit_request")["anyway"] is True


def test_a_long_document_is_loaded_whole(desk: ScriptedDesk, open_page: Open) -> None:
    long = [said("user", text("head of it", cut=5000))]
    desk.whole["one"] = {"document": "a: whole\n", "document_cut": False, "chat": CHAT}
    page = open_page(card("one", document="", document_cut=True, chat=long, chat_cut=3))
    assert "Load 3 older messages" in text_of(page, "#conversation")
    armed(page)
    page.press("e")
    page.until("document.querySelector('.yaml').value === 'a: whole\\n'")
    page.press("Escape")
    page.click("#conversation .long .button")
    page.until("document.querySelector('#conversation').textContent.includes('Find out why')")


def test_an_answer_with_a_tool_call_follows_the_schema(desk: ScriptedDesk, open_page: Open) -> None:
    desk.tools.append(WEATHER)
    decides(desk, "complete_response", "answer")
    held = card("one", tools=["get_weather"])
    page = open_page(held)
    armed(page)
    page.press("w")
    page.type("It will rain.")
    page.click(".call-editor .row .button")
    page.until("document.querySelector('.call-editor textarea').value.includes('celsius')")
    assert "City and country" in text_of(page, ".schema")
    page.js("document.querySelector('.call-editor textarea').select()")
    page.type('{"location": 5, "wind": true}')
    page.until("document.querySelector('.call-editor .form-error').textContent")
    wrong = text_of(page, ".call-editor .form-error").split("\n")
    assert wrong == [
        "unit: missing",
        "location: must be string",
        "wind: the tool knows no such argument",
    ]
    page.press("Enter", ctrl=True)
    page.js("document.querySelector('.call-editor textarea').select()")
    page.type('{"location": "Oslo", "unit": "celsius"}')
    page.press("Enter", ctrl=True)
    told = desk.wait_for("complete_response")
    assert told["content"] == "It will rain."
    assert told["digest"] == held["digest"]
    [call] = told["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"location": "Oslo", "unit": "celsius"}
    assert "finish_reason" not in told


def test_an_answer_is_streamed_as_it_is_typed(desk: ScriptedDesk, open_page: Open) -> None:
    desk.reply["start_response"] = lambda data: desk.update(
        data["request_id"], state="writing", writer="ada"
    )
    decides(desk, "finish_response", "answer")
    held = card("one")
    page = open_page(held)
    armed(page)
    page.press("w")
    page.click("#as-i-type")
    assert desk.wait_for("start_response")["digest"] == held["digest"]
    page.until("document.querySelector('.work.live')")
    page.type("Good morning, ")
    assert desk.wait_for("response_chunk") == {"request_id": "one", "content": "Good morning, "}
    page.type("wor")
    page.type("ld")
    page.until("document.querySelector('.sent').textContent.includes('Good morning')")
    # What was sent is known after a reload, and what was not sent is still there.
    rest = desk.wait_for("response_chunk")["content"]
    assert rest == "world"
    assert page.asked == []
    page.goto(desk.url, "document.querySelectorAll('#cards li').length === 1")
    armed(page)
    page.press("w")
    page.until("document.querySelector('.sent')?.textContent.includes('Good morning, world')")
    assert page.asked == ["beforeunload"]
    page.click(".call-editor .row .button")
    page.until("document.querySelector('.call-editor .primary')")
    page.click(".call-editor .primary")
    told = desk.wait_for("add_tool_call")["tool_call"]
    assert told["function"] == {"name": "Bash", "arguments": "{}"}
    page.js("document.querySelector('#answer-text').focus()")
    page.type("End.")
    page.press("Enter", ctrl=True)
    assert desk.wait_for("response_chunk")["content"] == "End."
    assert desk.wait_for("finish_response") == {"request_id": "one"}
    page.until("document.querySelectorAll('#cards li').length === 0")


def test_a_live_answer_of_which_nothing_arrived_is_whole_again(
    desk: ScriptedDesk, open_page: Open
) -> None:
    desk.reply["start_response"] = lambda data: desk.update(
        data["request_id"], state="writing", writer="ada"
    )
    decides(desk, "complete_response", "answer")
    page = open_page(card("one"))
    armed(page)
    page.press("w")
    page.click("#as-i-type")
    page.until("document.querySelector('.work.live')")
    page.type("Good morning, you")
    desk.wait_for("response_chunk")
    desk.update("one", state="waiting", writer=None)
    page.until("!document.querySelector('.work.live')")
    assert page.js("document.querySelector('#answer-text').value") == "Good morning, you"
    page.press("Enter", ctrl=True)
    assert desk.wait_for("complete_response")["content"] == "Good morning, you"


def test_a_notification_is_asked_for_and_tells_no_prompt(
    desk: ScriptedDesk, open_page: Open
) -> None:
    page = open_page()
    page.js(
        """(() => {
        window.told = [];
        window.Notification = class {
            constructor(title, more) { told.push([title, more]); }
            close() {}
            static permission = "default";
            static async requestPermission() { return (this.permission = "granted"); }
        };
        Object.defineProperty(document, "hidden", {get: () => true});
    })()"""
    )
    desk.offer(card("one"))
    page.until("document.querySelector('#polite').textContent.includes('Request held')")
    page.click("#notify")
    page.until("document.querySelector('#notify').ariaPressed === 'true'")
    desk.offer(held_call("two", reason="a secret reason"))
    [[title, more]] = page.until("told.length && told")
    assert title.startswith("Tool call held: Bash, claude-code")
    assert "secret" not in title + str(more)
    assert "rm -rf" not in title + str(more)
    page.click("#notify")
    page.until("document.querySelector('#notify').ariaPressed === 'false'")


def test_while_somebody_else_writes_nothing_can_be_decided(
    desk: ScriptedDesk, open_page: Open
) -> None:
    page = open_page(card("one", state="writing", writer="ben"))
    armed(page)
    page.press("a")
    page.press("w")
    page.click("[data-act=reject]")
    assert "ben is writing" in text_of(page, "#actions")
    assert not page.js("document.querySelector('.work')")
    assert desk.said("approve_request") == []


@pytest.mark.parametrize(
    ("held", "pick", "form"),
    [
        (held_call("one"), "", "tool_result"),
        (held_call("one"), "#form-error", "error"),
        (card("one"), "", "error"),
        (card("one"), "#form-refusal", "refusal"),
    ],
)
def test_a_rejection_says_what_and_how(
    desk: ScriptedDesk, open_page: Open, held: dict[str, Any], pick: str, form: str
) -> None:
    decides(desk, "reject_request", "reject")
    page = open_page(held)
    armed(page)
    page.press("n")
    page.type("asked twice")
    page.press("Escape")
    page.press("x")
    page.type("axe w/ j? no")
    if pick:
        page.click(pick)
    page.press("Enter", ctrl=True)
    told = desk.wait_for("reject_request")
    assert told == {
        "request_id": "one",
        "digest": held["digest"],
        "reason": "axe w/ j? no",
        "form": form,
        "note": "asked twice",
    }


def test_what_is_typed_is_no_key_and_letters_can_be_switched_off(
    desk: ScriptedDesk, open_page: Open
) -> None:
    page = open_page(card("one", client="codex"), card("two", client="claude-code"))
    choose(page, "one")
    page.press("/")
    for letter in "axe":
        page.press(letter)
    page.until("document.querySelector('#filter').value === 'axe'")
    page.until("document.querySelector('#nothing').textContent.includes('filter')")
    page.press("Escape")
    page.until("document.querySelectorAll('#cards li').length === 2")
    page.js("document.activeElement.blur()")
    page.press("?")
    page.until("document.querySelector('#help').open")
    page.press("a")
    page.click("#letters")
    page.press("Escape")
    page.press("a")
    page.press("e")
    assert not page.js("document.querySelector('.work')")
    page.js("document.querySelector('#cards [aria-selected=true]').focus()")
    page.press("ArrowDown")
    page.until(f"{CHOSEN} === 'two'")
    assert desk.said("approve_request") == []


def test_hostile_texts_stay_texts(desk: ScriptedDesk, open_page: Open) -> None:
    arguments = json.dumps({"command": HOSTILE, HOSTILE: 1})
    evil = card(
        "one",
        client=HOSTILE,
        model=HOSTILE,
        reason=HOSTILE,
        rule=HOSTILE,
        conversation=HOSTILE,
        verdicts=[HOSTILE],
        tools=[HOSTILE, "__proto__", "constructor"],
        document=f"text: {HOSTILE}",
        chat=[
            said(HOSTILE, text(HOSTILE)),
            said(
                "assistant",
                {"type": "tool_call", "name": HOSTILE, "id": HOSTILE, "arguments": arguments},
            ),
            said(
                "tool",
                {"type": "tool_result", "name": HOSTILE, "text": HOSTILE, "error": True},
                new=True,
            ),
            said(
                "user",
                {"type": "media", "name": HOSTILE},
                {"type": "other", "name": HOSTILE},
                new=True,
            ),
            said(
                "user", {"type": "reasoning", "text": HOSTILE}, {"type": "refusal", "text": HOSTILE}
            ),
        ],
    )
    desk.history.append(
        {
            "request_id": "old",
            "action": "reject",
            "by": HOSTILE,
            "at": time.time(),
            "note": HOSTILE,
            "kind": "request",
            "reason": HOSTILE,
            "rule": HOSTILE,
            "client": HOSTILE,
            "model": HOSTILE,
            "wait_s": 1.0,
        }
    )
    desk.tools.append(
        {"name": HOSTILE, "description": HOSTILE, "parameters": {"properties": {HOSTILE: {}}}}
    )
    _checker(desk, None)
    page = open_page(evil, held_call("two"), held_answer("three"))
    choose(page, "one")
    page.press("h")
    page.until("document.querySelector('#history').open")
    page.press("Escape")
    page.press("w")
    page.click(".call-editor .row .button")
    page.until("document.querySelector('.schema code')")
    page.press("Escape")
    page.press("e")
    page.until("document.querySelector('.yaml')?.value.includes('onerror')")
    desk.decided("one", "reject", HOSTILE, HOSTILE)
    page.until("document.querySelector('#toasts').textContent.includes('onerror')")
    assert page.js("document.querySelectorAll('img, svg, h1, script').length") == 2
    assert page.js("document.title") == "(2) Review · llmitm"
    assert page.js("document.querySelectorAll('main').length") == 1
    shown = page.js("document.querySelector('#conversation').textContent")
    assert "<script>document.title='taken'</script>" in shown
    assert "U+202E" in shown
    assert "hidden text: ignore the operator" in shown
    assert "👩‍👩‍👧" in shown
    everything = page.js("document.body.innerText")
    assert "\u202e" not in everything
    assert not any(0xE0000 <= ord(char) <= 0xE0FFF for char in everything)


def test_arguments_that_say_more_than_they_show_are_shown_as_written(open_page: Open) -> None:
    doubled = '{"command": "rm -rf /", "command": "ls"}'
    held = held_call("one", call={"id": "c", "name": "Bash", "arguments": doubled})
    page = open_page(held)
    assert doubled in text_of(page, ".held")
    page = open_page(held_call("one", call={"id": "c", "name": "Bash", "arguments": "not json {"}))
    assert "not json {" in text_of(page, ".held")


def test_one_key_leads_to_what_is_new_and_to_what_is_held(open_page: Open) -> None:
    page = open_page(held_call("one"))
    armed(page)
    page.until("document.querySelector('.held').getBoundingClientRect().bottom < innerHeight")
    page.press("u")
    page.until("document.activeElement.id === 'first-new'")
    assert "New since the last turn: 3 messages" in text_of(page, "#first-new")
    page.press("u")
    page.until("document.activeElement.closest('.held')")


def test_a_kind_is_approved_for_a_while_and_revoked(desk: ScriptedDesk, open_page: Open) -> None:
    decides(desk, "approve_request", "approve")
    held = held_call("one")
    now = time.time()
    desk.approvals.append(
        {
            "id": "s1",
            "sort": ["tool_call", "ask-before-deleting", "claude-code", "m", "Bash"],
            "verdicts": [],
            "by": "ada",
            "since": now,
            "until": now + 600,
            "used": 3,
        }
    )
    page = open_page(held)
    armed(page)
    page.press("A")
    page.until("document.querySelector('#standing').open")
    assert "Tool call of Bash held by ask-before-deleting" in text_of(page, "#standing-sort")
    page.type("15")
    page.press("Enter")
    told = desk.wait_for("approve_request")
    assert told == {"request_id": "one", "digest": held["digest"], "minutes": 15}
    page.until("document.querySelectorAll('#cards li').length === 0")
    page.press("h")
    page.until("document.querySelector('#approvals button')")
    assert "approved" in text_of(page, "#history-rows")
    page.click("#approvals button")
    page.until("document.querySelector('#approvals').textContent.includes('None')")
    assert desk.approvals == []


def test_two_hundred_cards_at_once_are_all_there(desk: ScriptedDesk, open_page: Open) -> None:
    page = open_page(card("first", age_s=100))
    for number in range(200):
        desk.offer(card(f"c{number}", client=f"client-{number}"))
    page.until("document.querySelectorAll('#cards li').length === 201")
    page.until("document.querySelector('#polite').textContent.includes('new card')")
    assert page.js(CHOSEN) == "first"
    page.press("/")
    page.type("client-19")
    page.until("document.querySelectorAll('#cards li').length === 11")
    for number in range(200):
        desk.decided(f"c{number}", "approve", "ben")
    page.until("document.title === '(1) Review · llmitm'")


def test_the_login_form(desk: ScriptedDesk, open_page: Open) -> None:
    page = open_page(card("one"))
    desk.signed_in = False
    desk.hang_up()
    page.until(
        "location.pathname.endsWith('login.html') && document.activeElement.id === 'password'"
    )
    page.type("shut")
    page.press("Enter")
    page.until("document.querySelector('#login-error').textContent.includes('do not belong')")
    page.js("document.querySelector('#password').select()")
    page.type("open")
    page.press("Enter")
    page.until("document.querySelectorAll('#cards li').length === 1")
    assert desk.logins == [
        {"username": "admin", "password": "shut"},
        {"username": "admin", "password": "open"},
    ]
    assert page.js("JSON.stringify({...sessionStorage, ...localStorage})").find("open") == -1
    page.trouble[:] = [each for each in page.trouble if "401" not in each]
