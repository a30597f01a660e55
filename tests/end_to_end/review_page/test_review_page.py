"""The review page in a real Chromium, against a desk that follows a script."""

from __future__ import annotations

import json
import time

import pytest
from review_cards import HOSTILE, card, held_answer, held_call, said, text
from reviewing import CHOSEN, Open, armed, checker, choose, decides, focused, text_of
from scripted_desk import ScriptedDesk

pytestmark = pytest.mark.end_to_end


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


def test_without_a_connection_nothing_is_sent_and_nothing_is_lost(
    desk: ScriptedDesk, open_page: Open
) -> None:
    decides(desk, "complete_response", "answer")
    page = open_page(card("one"))
    armed(page)
    page.press("w")
    page.type("My answer")
    desk.down = True
    desk.hang_up()
    page.until("document.querySelector('#offline').checkVisibility()")
    page.press("Enter", ctrl=True)
    page.until("document.querySelector('#card-problem').textContent.includes('Not sent')")
    assert page.js("document.querySelector('#answer-text').value") == "My answer"
    desk.down = False
    page.until("document.querySelector('#link').dataset.state === 'open'")
    assert desk.said("complete_response") == []
    page.press("Enter", ctrl=True)
    assert desk.wait_for("complete_response")["content"] == "My answer"
    page.trouble[:] = [each for each in page.trouble if "503" not in each]


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
    page.press("Enter")
    page.until("document.activeElement.id === 'card-title'")
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
        {
            "name": HOSTILE,
            "kind": "function",
            "description": HOSTILE,
            "parameters": {"properties": {HOSTILE: {}}},
        }
    )
    checker(desk, None)
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
