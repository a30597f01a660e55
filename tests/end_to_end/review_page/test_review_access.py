"""The review page for everybody: names, contrast, keyboard, sizes, and pictures to look at."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest
from browser import Page
from review_cards import WEATHER, card, held_answer, held_call
from reviewing import Open, armed, choose
from scripted_desk import ScriptedDesk

pytestmark = pytest.mark.end_to_end

CONTROLS = {
    "button",
    "textbox",
    "searchbox",
    "link",
    "checkbox",
    "radio",
    "combobox",
    "option",
    "spinbutton",
    "dialog",
    "progressbar",
    "listbox",
    "region",
}

CHECKS = (Path(__file__).parent / "checks.js").read_text()


def look_at(page: Page, name: str, *given: str) -> Any:
    """What a check of `checks.js` tells."""
    return page.js(f"{CHECKS.strip()}.{name}({', '.join(map(json.dumps, given))})")


def check(page: Page) -> None:
    """Everything has a name, can be read, and is told once."""
    unnamed = [
        node for node in page.accessible() if node["role"] in CONTROLS and not node["name"].strip()
    ]
    assert unnamed == []
    contrast = look_at(page, "contrast")
    assert contrast["seen"] >= 5
    assert contrast["found"] == []
    assert look_at(page, "doubled") == []
    assert look_at(page, "lost") == []


def full(desk: ScriptedDesk) -> list[dict[str, object]]:
    """One card of each kind."""
    now = time.time()
    desk.tools.append(WEATHER)
    desk.history.append(
        {
            "request_id": "h1",
            "action": "approve",
            "by": "ben",
            "at": now - 60,
            "note": "asked twice",
            "kind": "request",
            "reason": "first use",
            "rule": "r",
            "client": "codex",
            "model": "gpt-5.1",
            "wait_s": 12.0,
        }
    )
    desk.approvals.append(
        {
            "id": "s1",
            "sort": ["tool_call", "ask-before-deleting", "claude-code", "m", "Bash"],
            "verdicts": ["dangerous_command"],
            "by": "ada",
            "since": now,
            "until": now + 540,
            "used": 3,
        }
    )
    desk.reply["check_edit"] = lambda data: desk.say(
        "checked",
        {
            "request_id": data["request_id"],
            "ok": False,
            "errors": [{"line": 3, "message": "no such setting; is it temperature?"}],
            "warnings": [{"say": "The cached prefix breaks from message 1.", "cost_usd": 0.0415}],
        },
    )
    desk.reply["start_response"] = lambda data: desk.update(
        data["request_id"], state="writing", writer="ada"
    )
    return [
        card("one", age_s=200, tools=["get_weather", "Bash"]),
        held_call("two", age_s=100),
        held_answer("three", age_s=40),
        card("four", age_s=280, client="", cost_usd=None, may_approve=False),
    ]


def edit_with_mistake(page: Page) -> None:
    page.press("e")
    page.until("document.querySelector('.yaml')?.value")
    page.js(
        "{ const area = document.querySelector('.yaml'); area.focus();"
        "area.setSelectionRange(area.value.indexOf('temperature') + 10,"
        "area.value.indexOf('temperature') + 11); }"
    )
    page.press("Backspace")
    page.until("document.querySelector('.gutter .wrong')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_is_named_and_readable(
    desk: ScriptedDesk, open_page: Open, artefacts: Path, scheme: str
) -> None:
    page = open_page(*full(desk))
    page.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")

    def look(name: str) -> None:
        check(page)
        page.shot(artefacts / f"review-{name}-{scheme}.png")

    choose(page, "one")
    look("queue")
    choose(page, "two")
    look("tool-call")
    choose(page, "three")
    look("answer-held")
    choose(page, "four")
    look("no-approval")
    choose(page, "one")
    edit_with_mistake(page)
    look("edit")
    page.press("Escape")
    page.press("x")
    look("reject")
    page.press("Escape")
    page.press("w")
    page.click("#as-i-type")
    page.until("document.querySelector('.work.live')")
    page.type("It will rain in the ")
    page.until("document.querySelector('.sent').textContent.includes('rain')")
    page.type("after")
    page.click(".call-editor .row .button")
    page.until("document.querySelector('.schema li')")
    look("answer-live")
    page.press("Escape")
    page.press("?")
    page.until("document.querySelector('#help').open")
    look("help")
    page.press("Escape")
    page.press("h")
    page.until("document.querySelector('#approvals button')")
    look("history")
    page.press("Escape")
    choose(page, "two")
    page.press("A")
    page.until("document.querySelector('#standing').open")
    look("standing")


def test_the_contrast_check_sees_what_is_pale(open_page: Open) -> None:
    page = open_page(card("one"))
    page.js("document.querySelector('#card-title').style.color = '#999'")
    [found] = look_at(page, "contrast")["found"]
    assert found.startswith("2.8")


def test_headings_and_landmarks(desk: ScriptedDesk, open_page: Open) -> None:
    page = open_page(*full(desk))
    choose(page, "two")
    roles = [(node["role"], node["name"]) for node in page.accessible()]
    for wanted in ("banner", "main", "navigation"):
        assert sum(role == wanted for role, _ in roles) == 1
    assert ("region", "Conversation") in roles
    assert ("listbox", "Held exchanges, oldest first") in roles
    levels = look_at(page, "headings")
    assert levels[0] == 1
    assert all(deeper - level <= 1 for level, deeper in itertools.pairwise(levels))
    live = look_at(page, "roles", "#polite", "#alarm", "#card-problem")
    assert live == ["status", "alert", "alert"]


def test_the_keyboard_reaches_everything_and_is_never_trapped(
    desk: ScriptedDesk, open_page: Open
) -> None:
    page = open_page(*full(desk))
    choose(page, "one")
    edit_with_mistake(page)
    total = look_at(page, "gather")
    unmarked: list[str] = []
    left = [""]
    for _ in range(total + 12):
        page.press("Tab")
        told = look_at(page, "reached")
        left = told["left"]
        unmarked += [told["unmarked"]] if told["unmarked"] else []
        if not left:
            break
    assert left == []
    assert unmarked == []


def test_focus_goes_into_a_form_and_back(desk: ScriptedDesk, open_page: Open) -> None:
    page = open_page(*full(desk))
    choose(page, "one")
    for key, inside in (("e", "document"), ("w", "answer-text")):
        page.press(key)
        page.until(f"document.activeElement.id === '{inside}'")
        page.press("Escape")
        page.until("document.activeElement.id === 'card-title'")
    page.press("?")
    page.until("document.querySelector('#help').contains(document.activeElement)")
    page.press("Escape")
    page.until("!document.querySelector('#help').open")
    page.until("document.activeElement.id === 'card-title'")


@pytest.mark.parametrize(("width", "height", "mobile"), [(360, 740, True), (720, 450, False)])
def test_one_column_on_a_phone_and_at_a_zoom_of_two(
    desk: ScriptedDesk, open_page: Open, artefacts: Path, width: int, height: int, mobile: bool
) -> None:
    page = open_page(*full(desk), width=width, height=height, mobile=mobile, scale=2)
    name = "phone" if mobile else "zoom"

    def look(view: str) -> None:
        assert page.js("document.documentElement.scrollWidth") <= width
        check(page)
        assert look_at(page, "small") == []
        page.shot(artefacts / f"review-{name}-{view}.png")

    look("queue")
    assert not page.js("document.querySelector('#card').checkVisibility()")
    page.click("#cards [data-id=two]")
    page.until("document.querySelector('#card').checkVisibility()")
    assert not page.js("document.querySelector('#queue').checkVisibility()")
    armed(page)
    bar = page.js("document.querySelector('#actions').getBoundingClientRect().bottom")
    assert bar <= height
    assert page.js("document.querySelector('.held').getBoundingClientRect().top") < height
    look("tool-call")
    page.click("[data-act=edit]")
    page.until("document.querySelector('.yaml')?.value")
    look("edit")
    page.click(".work .buttons .quiet")
    page.click("[data-act=answer]")
    look("answer")
    page.click(".work .buttons:last-child .quiet")
    page.click("#to-list")
    page.until("document.querySelector('#queue').checkVisibility()")
    if mobile:
        assert look_at(page, "touch") >= 44


def test_motion_contrast_and_forced_colours(
    desk: ScriptedDesk, open_page: Open, artefacts: Path
) -> None:
    page = open_page(*full(desk))
    choose(page, "two")
    page.prefer(prefers_contrast="more", prefers_color_scheme="light")
    edges = page.js(
        "[getComputedStyle(document.querySelector('.turn')).borderTopColor,"
        "getComputedStyle(document.body).color]"
    )
    assert edges[0] == edges[1]
    check(page)
    page.prefer(forced_colors="active")
    page.shot(artefacts / "review-forced-colours.png")
    part = "'::-webkit-progress-value'"
    moving = f"getComputedStyle(document.querySelector('progress'), {part}).transitionDuration"
    page.prefer(prefers_reduced_motion="reduce")
    assert page.js("matchMedia('(prefers-reduced-motion: reduce)').matches")
    assert page.js(moving) in ("0s", "")


def test_the_login_is_named_and_readable(
    desk: ScriptedDesk, open_page: Open, artefacts: Path
) -> None:
    page = open_page()
    page.goto(desk.url + "login.html", "document.activeElement.id === 'password'")
    for scheme in ("light", "dark"):
        page.prefer(prefers_color_scheme=scheme)
        check(page)
        page.shot(artefacts / f"review-login-{scheme}.png")
