"""The review page against the real server of the own port and the real queue."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, Page
from mitmproxy import options
from mitmproxy.tools.web.master import WebMaster
from reviewing import armed, choose, text_of

from llmitm.canon.parts import Text, ToolCall
from llmitm.mitm.review.server import ReviewServer
from llmitm.stages.contract import Answer, Denied, Forward
from review_cases import Desk, Exchange, call_card, card, response_card
from review_served import PASSWORD, Started, check, edited, served

pytestmark = pytest.mark.end_to_end

PATIENCE_S = 20.0


type Within = Callable[[Path], AbstractAsyncContextManager[Any]]


@dataclass
class Web:
    """root: of mitmweb; its password is `PASSWORD`."""

    desk: Desk
    root: str


@asynccontextmanager
async def mitmweb(folder: Path) -> AsyncIterator[Web]:
    """The real mitmweb with the page in it."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    desk = Desk()
    server = ReviewServer(desk.queue, check, edited, environ={"LLMITM_HOME": str(folder)})
    known = options.Options(listen_host="127.0.0.1", listen_port=0, confdir=str(folder))
    master = WebMaster(known, with_termlog=False)
    started = Started()
    master.addons.add(server, started)
    master.options.update(
        web_port=port,
        web_open_browser=False,
        web_password=PASSWORD,
        connection_strategy="lazy",
    )
    running = asyncio.ensure_future(master.run())
    try:
        await started.event.wait()
        yield Web(desk, f"http://127.0.0.1:{port}")
    finally:
        master.shutdown()
        with suppress(asyncio.CancelledError):
            await running


class Running:
    """The server in a thread of its own; `do` calls something there."""

    def __init__(self, folder: Path, within: Within = served) -> None:
        self._folder = folder
        self._within = within
        self._ready: queue.Queue[Any] = queue.Queue()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self.one = self._ready.get(timeout=PATIENCE_S)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        async with self._within(self._folder) as one:
            self._ready.put(one)
            await self._over.wait()

    def do[R](self, act: Callable[[], R]) -> R:
        async def there() -> R:
            return act()

        return asyncio.run_coroutine_threadsafe(there(), self._loop).result(PATIENCE_S)

    def offer(self, shown: Any) -> Exchange:
        return self.do(lambda: self.one.desk.offer(shown))

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(PATIENCE_S)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def page(browser: Browser, running: Running) -> Iterator[Page]:
    """Signed in through the form."""
    opened = browser.page()
    opened.view(1440, 900)
    root = running.one.root
    opened.goto(f"{root}/llm/", "location.pathname === '/llm/login.html'")
    opened.until("document.activeElement.id === 'password'")
    opened.type(PASSWORD)
    opened.press("Enter")
    opened.until("document.querySelector('#link')?.dataset.state === 'open'")
    assert opened.js("document.cookie").find("llmitm") == -1
    yield opened
    trouble = [each for each in opened.trouble if "401" not in each]
    opened.close()
    assert trouble == []


def gone(page: Page) -> None:
    page.until("document.querySelectorAll('#cards li').length === 0")


def test_every_kind_of_decision_arrives(running: Running, page: Page) -> None:
    first = running.offer(card("c1"))
    page.until("document.querySelectorAll('#cards li').length === 1")
    armed(page)
    page.press("a")
    gone(page)
    assert first.decisions == [Forward()]

    call = running.offer(call_card())
    page.until("document.querySelector('.held')")
    assert "I look" in text_of(page, ".so-far")
    armed(page)
    page.press("x")
    page.type("Not on this machine.")
    page.press("Enter", ctrl=True)
    gone(page)
    [denied] = call.decisions
    assert isinstance(denied, Denied)
    assert (denied.message, denied.form) == ("Not on this machine.", "tool_result")

    held = running.offer(response_card())
    page.until("document.querySelector('.held')")
    assert "as the model said" in text_of(page, ".held")
    armed(page)
    page.press("w")
    page.type("As I say.")
    page.press("Enter", ctrl=True)
    gone(page)
    [answered] = held.decisions
    assert isinstance(answered, Answer)
    assert answered.response.choices[0].parts == (Text(text="As I say."),)


def test_an_edit_with_mistakes_then_with_a_price(running: Running, page: Page) -> None:
    held = running.offer(card("c1"))
    page.until("document.querySelectorAll('#cards li').length === 1")
    armed(page)
    page.press("e")
    page.until("document.querySelector('.yaml')?.value")
    page.js("document.querySelector('.yaml').select()")
    page.type("a\nb\nwrong")
    page.until("document.querySelector('.mistakes').textContent.includes('Line 3: no such role')")
    page.js("document.querySelector('.yaml').select()")
    page.type("dear")
    page.until("document.querySelector('.warnings').textContent.includes('$0.500')")
    page.press("Enter", ctrl=True)
    assert held.decisions == []
    page.press("Enter", ctrl=True)
    gone(page)
    [decided] = held.decisions
    assert isinstance(decided, Forward)
    assert decided.request is not None


def test_a_live_answer_with_a_call(running: Running, page: Page) -> None:
    held = running.offer(card("c1", stream=True))
    page.until("document.querySelectorAll('#cards li').length === 1")
    armed(page)
    page.press("w")
    page.click("#as-i-type")
    page.until("document.querySelector('.work.live')")
    page.type("One moment, ")
    page.type("please")
    page.until("document.querySelector('.sent').textContent.includes('please')")
    page.click(".call-editor .row .button")
    page.until("document.querySelector('.call-editor .primary')")
    page.click(".call-editor .primary")
    page.until("document.querySelector('.call-editor select').options.length === 2")
    page.js("document.querySelector('.call-editor select').value = 'patch'")
    page.click(".call-editor .row .button")
    page.until("document.querySelector('.call-editor label').textContent.includes('free text')")
    page.type("+ a line")
    page.press("Enter", ctrl=True)
    gone(page)
    text, call, patch = held.text.choices[0].parts
    assert text == Text(text="One moment, please")
    assert isinstance(call, ToolCall)
    assert (call.name, call.arguments) == ("weather", "{}")
    assert isinstance(patch, ToolCall)
    assert (patch.kind, patch.name, patch.arguments) == ("custom", "patch", "+ a line")
    assert held.reason == "tool_calls"


def test_two_operators_and_a_standing_approval(
    running: Running, page: Page, browser: Browser
) -> None:
    held = running.offer(card("c1"))
    page.until("document.querySelectorAll('#cards li').length === 1")
    page.press("?")
    page.until("document.querySelector('#help').open")
    page.click("#name")
    page.type("ann")
    page.press("Escape")
    page.until("document.querySelector('#operator').textContent.includes('ann@admin')")
    armed(page)
    page.press("A")
    page.until("document.querySelector('#standing').open")
    page.press("Enter")
    gone(page)
    assert held.decisions == [Forward()]
    again = Exchange()
    assert running.do(lambda: running.one.desk.queue.offer(card("c2"), again)) == Forward()
    page.press("h")
    page.until("document.querySelector('#approvals button')")
    assert "ann@admin" in text_of(page, "#approvals")
    page.click("#approvals button")
    page.until("document.querySelector('#approvals').textContent.includes('None')")
    assert running.do(running.one.desk.queue.standing) == []
    page.press("Escape")
    other = running.offer(card("c3"))
    page.until("document.querySelectorAll('#cards li').length === 1")
    choose(page, "c3")
    running.do(lambda: running.one.desk.queue.decide("c3", "approve", Forward(), "ben"))
    page.until("document.querySelector('.over')?.textContent.includes('Approved by ben')")
    assert len(other.decisions) == 1


def test_inside_mitmweb(tmp_path: Path, browser: Browser, artefacts: Path) -> None:
    running = Running(tmp_path, mitmweb)
    page = browser.page()
    try:
        held = running.offer(card("c1"))
        page.view(1440, 900)
        page.goto(f"{running.one.root}/llm/", "document.querySelector('input[type=password]')")
        page.js("document.querySelector('input[type=password]').focus()")
        page.type(PASSWORD)
        page.press("Enter")
        page.until("document.querySelectorAll('#cards li').length === 1")
        armed(page)
        page.press("A")
        page.until("document.querySelector('#standing').open")
        page.press("Enter")
        gone(page)
        assert held.decisions == [Forward()]
        page.press("h")
        page.until("document.querySelector('#approvals button')")
        page.click("#approvals button")
        page.until("document.querySelector('#approvals').textContent.includes('None')")
        page.press("Escape")
        page.press("?")
        assert not page.js("document.querySelector('#sign-out').checkVisibility()")
        page.shot(artefacts / "review-in-mitmweb.png")
        assert [each for each in page.trouble if "403" not in each] == []
    finally:
        page.close()
        running.stop()
