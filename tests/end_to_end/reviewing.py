"""What an operator does on the review page, in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from browser import Page
from scripted_desk import ScriptedDesk

type Open = Callable[..., Page]

CHOSEN = """document.querySelector('#cards [aria-selected="true"]')?.dataset.id"""
"""In the page: the id of the card that is shown."""


def decides(desk: ScriptedDesk, kind: str, action: str, by: str = "ada") -> None:
    """From now on a wish of this kind is carried out."""
    desk.reply[kind] = lambda data: desk.decided(data["request_id"], action, by)


def checker(desk: ScriptedDesk, cost: float | None) -> None:
    """From now on edits are checked: `temperatur:` is a mistake, everything costs."""

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


def armed(page: Page) -> None:
    """Waits until the card that is shown takes decisions."""
    page.until("!document.querySelector('#actions.settling')")


def choose(page: Page, card_id: str) -> None:
    """A click on a card; it is shown and takes decisions."""
    page.click(f'#cards [data-id="{card_id}"]')
    page.until(
        f"""document.querySelector('#cards [aria-selected="true"]').dataset.id === '{card_id}'"""
    )
    armed(page)


def text_of(page: Page, selector: str) -> str:
    """What is written in the first element."""
    return page.js(f"document.querySelector({selector!r}).textContent")


def focused(page: Page) -> str:
    """id or class of what has the focus."""
    return page.js("document.activeElement.id || document.activeElement.className")
