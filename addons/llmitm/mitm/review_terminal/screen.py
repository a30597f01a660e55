"""The full screen: what waits, live, and one key for each thing to do about it.

The terminal is put back however this ends: by a key, a signal or an exception. It steps aside for
the editor and for Ctrl-Z.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Generator, Mapping

from rich.console import Console, Group
from rich.live import Live as Painted

from llmitm.desk.review_board import Board, Held, News
from llmitm.desk.review_screen import Page, View, frame
from llmitm.mitm.review_terminal.asking import Asking
from llmitm.mitm.review_terminal.deciding import Deciding
from llmitm.mitm.review_terminal.keys import Keyboard, Terminal
from llmitm.mitm.review_terminal.link import Link
from llmitm.mitm.review_terminal.live import Live
from llmitm.mitm.review_terminal.place import Place, ReviewTrouble

_TICK_S = 1.0
_ESC_S = 0.05
_AGAIN_S = (0.5, 1.0, 2.0, 5.0, 10.0)
_READ_BYTES = 65536
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_PAGES: dict[str, Page] = {"h": "history", "i": "stats", "?": "help"}

_LOOK_FIRST_S = 0.5

type Act = Callable[[Held], Awaitable[object]]


class ReviewScreen:
    """One operator at one terminal. bell: rings when something new waits."""

    def __init__(
        self,
        find: Callable[[], Awaitable[Place]],
        environ: Mapping[str, str],
        terminal: Terminal,
        console: Console,
        *,
        bell: bool = False,
    ) -> None:
        self._find = find
        self._terminal = terminal
        self._console = console
        self._bell = bell
        self._view = View(board=Board())
        self._asking = Asking(self._view, self._repaint)
        self._link: Link | None = None
        self._painted: Painted | None = None
        self._away = False
        self._changed = asyncio.Event()
        self._keyboard = Keyboard()
        self._leaving: asyncio.Future[int] | None = None
        deciding = Deciding(self._view, self._asking, self._linked, environ, self._suspended)
        self._deciding, self._live = deciding, Live(deciding)
        self._acts: dict[str, Act] = {
            "a": deciding.approve,
            "A": deciding.approve_sort,
            "e": deciding.edit,
            "w": deciding.answer,
            "W": deciding.answer_line,
            "s": self._live.write,
            "t": deciding.answer_call,
            "x": deciding.reject,
            "n": deciding.note,
            "r": deciding.whole,
        }
        self._seen = ("", "")
        self._jumped_s = 0.0

    async def run(self) -> int:
        """Until the operator leaves; the exit code. Raises ReviewTrouble if it cannot begin."""
        loop = asyncio.get_running_loop()
        self._leaving = loop.create_future()
        await self._connect()
        for number in _ENDING:
            loop.add_signal_handler(number, self._signalled, number)
        loop.add_signal_handler(signal.SIGWINCH, self._repaint)
        loop.add_signal_handler(signal.SIGTSTP, self._stop)
        tasks = [asyncio.ensure_future(each) for each in (self._read(), self._paint(), self._act())]
        try:
            self._enter()
            await asyncio.wait([self._leaving, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            return self._leaving.result() if self._leaving.done() else 0
        finally:
            self._quit(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._leave()
            if self._link is not None:
                self._link.close()

    # -- the terminal -------------------------------------------------------------------------

    def _enter(self) -> None:
        self._terminal.enter()
        self._painted = Painted(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._painted.start()
        asyncio.get_running_loop().add_reader(self._terminal.fd, self._readable)
        self._away = False
        self._repaint()

    def _leave(self) -> None:
        asyncio.get_running_loop().remove_reader(self._terminal.fd)
        painted, self._painted = self._painted, None
        if painted is not None:
            with contextlib.suppress(OSError):
                painted.stop()
        self._terminal.leave()
        self._away = True

    @contextlib.contextmanager
    def _suspended(self) -> Generator[None]:
        """The terminal belongs to another program."""
        self._leave()
        try:
            yield
        finally:
            if self._leaving is not None and not self._leaving.done():
                self._enter()

    def _stop(self) -> None:
        """Ctrl-Z: stopped with the terminal as it was; goes on where it was."""
        # An editor that stops stops its whole group, and the shell waits for us.
        with contextlib.nullcontext() if self._away else self._suspended():
            os.kill(os.getpid(), signal.SIGSTOP)

    def _signalled(self, number: int) -> None:
        # In the editor, Ctrl-C is the editor's.
        if self._away and number in (signal.SIGINT, signal.SIGQUIT):
            return
        self._quit(130 if number == signal.SIGINT else 128 + number)

    def _quit(self, code: int) -> None:
        if self._leaving is not None and not self._leaving.done():
            self._leaving.set_result(code)

    def _readable(self) -> None:
        try:
            data = os.read(self._terminal.fd, _READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._quit(128 + signal.SIGHUP)
            return
        self._asking.pressed(self._keyboard.feed(data))
        if self._keyboard.unsure:
            asyncio.get_running_loop().call_later(_ESC_S, self._settle)

    def _settle(self) -> None:
        self._asking.pressed(self._keyboard.settle())

    def _repaint(self) -> None:
        self._changed.set()

    async def _paint(self) -> None:
        """Paints what has changed, and the ages each second."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _TICK_S)
            self._changed.clear()
            if self._painted is None:
                continue
            self._look()
            width, height = self._console.size
            lines = frame(self._view, time.time(), width, height)
            try:
                self._painted.update(Group(*lines), refresh=True)
            except OSError:
                self._quit(128 + signal.SIGHUP)

    def _look(self) -> None:
        """Notes what is about to be shown, and when it was another one before."""
        held = self._view.card()
        self._view.note = self._deciding.note_of(held) if held is not None else ""
        seen = (held.id, held.digest) if held is not None else ("", "")
        if seen != self._seen:
            self._seen, self._jumped_s = seen, time.monotonic()

    # -- the connection -----------------------------------------------------------------------

    def _linked(self) -> Link:
        if self._link is None or not self._view.board.connected:
            raise ReviewTrouble("gone", "not connected")
        return self._link

    async def _connect(self) -> None:
        place = await self._find()
        self._view.place = place.name
        self._link = Link(place, self._view.board, self._told)
        await self._link.open()
        self._repaint()

    async def _read(self) -> None:
        """Takes messages in, and connects again whenever the connection ends."""
        while True:
            assert self._link is not None
            ended = await self._link.run()
            self._live.look()
            self._deciding.news(f"{ended}; trying again", bad=True)
            self._repaint()
            await self._again()

    async def _again(self) -> None:
        tries = 0
        while not self._view.board.connected:
            await asyncio.sleep(_AGAIN_S[min(tries, len(_AGAIN_S) - 1)])
            tries += 1
            try:
                await self._connect()
            except ReviewTrouble as trouble:
                self._deciding.news(f"{trouble}; trying again", bad=True)
                self._repaint()
        self._deciding.news("connected again")

    def _told(self, news: News) -> None:
        self._deciding.news(news.say, bad=news.error)
        if news.arrived and self._bell and self._painted is not None:
            self._console.bell()
        self._live.look()

    # -- the keys -----------------------------------------------------------------------------

    async def _act(self) -> None:
        while True:
            self._repaint()
            key = (await self._asking.key()).name
            if key == "q":
                return self._quit(0)
            if key in self._acts:
                if self._view.page in ("queue", "card") and not self._jumped(key):
                    await self._done(self._acts[key])
                    # What was pressed meanwhile was meant for the card that was there.
                    self._asking.forget()
            elif key == "/":
                words = await self._asking.line("filter", self._view.words)
                self._view.words = self._view.words if words is None else words.strip()
                self._view.scroll = 0
            else:
                await self._moved(key)

    async def _done(self, act: Act) -> None:
        held = self._view.card()
        if held is None:
            self._deciding.news("nothing is chosen", bad=True)
            return
        self._view.chosen = held.id
        try:
            await act(self._view.shown(held))
        except ReviewTrouble as trouble:
            self._deciding.news(str(trouble), bad=True)

    def _jumped(self, key: str) -> bool:
        """Whether another card has only just come under a finger that is on its way."""
        quick = time.monotonic() - self._jumped_s < _LOOK_FIRST_S
        if key == "a" and quick:
            self._deciding.news("this one has only just come up: look at it first", bad=True)
            return True
        return False

    async def _moved(self, key: str) -> None:
        view, rows = self._view, max(1, self._console.size.height // 2)
        steps = {" ": rows, "pgdn": rows, "b": -rows, "pgup": -rows}
        match key:
            case "j" | "down" if view.page in ("queue", "card"):
                self._choose(1)
            case "k" | "up" if view.page in ("queue", "card"):
                self._choose(-1)
            case "j" | "down":
                view.scroll += 1
            case "k" | "up":
                view.scroll = max(0, view.scroll - 1)
            case "enter" if view.page in ("queue", "card") and view.card() is not None:
                view.page, view.scroll = "card", 0
                await self._done(self._deciding.whole)
            case "u":
                view.scroll = view.new_at if view.page == "card" else 0
            case "esc":
                view.page, view.scroll = "queue", 0
            case "h" | "i" | "?":
                page = _PAGES[key]
                view.page, view.scroll = ("queue" if view.page == page else page), 0
            case _ if key in steps:
                view.scroll += steps[key]
                if view.page not in ("queue", "card"):
                    view.scroll = max(0, view.scroll)
            case _:
                pass

    def _choose(self, step: int) -> None:
        view = self._view
        listed, chosen = view.board.waiting(view.words), view.card()
        if chosen is None:
            return
        at = next(at for at, held in enumerate(listed) if held.id == chosen.id)
        held = listed[max(0, min(at + step, len(listed) - 1))]
        view.chosen, view.scroll = held.id, 0
        # Who moves there looks there.
        self._seen = (held.id, held.digest)
