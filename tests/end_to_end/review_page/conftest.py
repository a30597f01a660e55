"""A browser, a desk, and the review page that shows the desk in the browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import MISSING, Browser, Page, chromium, find_chromium
from reviewing import Open
from scripted_desk import ScriptedDesk


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for the tests of a module."""
    program = find_chromium()
    if program is None:
        pytest.skip(MISSING)
    with chromium(program, tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture(scope="module")
def _served() -> Iterator[ScriptedDesk]:
    desk = ScriptedDesk()
    desk.start()
    yield desk
    desk.stop()


@pytest.fixture
def desk(_served: ScriptedDesk) -> ScriptedDesk:
    """A desk where nothing waits yet."""
    _served.reset()
    return _served


@pytest.fixture
def open_page(browser: Browser, desk: ScriptedDesk) -> Iterator[Open]:
    """Opens the page with cards that wait. At the end: nothing went wrong in the browser, no
    broken policy, no exception."""
    opened: list[Page] = []

    def open_with(
        *cards: dict[str, Any], width: int = 1440, height: int = 900, **more: Any
    ) -> Page:
        for each in cards:
            desk.cards[each["request_id"]] = each
        page = browser.page()
        opened.append(page)
        page.view(width, height, **more)
        ready = f"document.querySelectorAll('#cards li').length === {len(desk.cards)}"
        page.goto(desk.url, f"{ready} && document.querySelector('#operator').textContent")
        return page

    yield open_with
    trouble = [each for page in opened for each in page.trouble]
    for page in opened:
        page.close()
    assert trouble == []


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go."""
    given = os.environ.get("LLMITM_ARTEFACTS", "")
    folder = Path(given) if given else tmp_path_factory.mktemp("artefacts")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
