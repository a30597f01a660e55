"""Editing, answering and rejecting on the review page, against a desk that follows a script."""

from __future__ import annotations

import json
from typing import Any

import pytest
from browser import Page
from review_cards import CHAT, WEATHER, card, held_call, said, text
from reviewing import Open, armed, checker, decides, text_of
from scripted_desk import ScriptedDesk

pytestmark = pytest.mark.end_to_end


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
    checker(desk, 0.0415)
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
