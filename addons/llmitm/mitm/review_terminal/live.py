"""An answer written live: what the operator types goes to the client as the model's words."""

from __future__ import annotations

from llmitm.desk.review_board import Held
from llmitm.mitm.review_terminal import wording
from llmitm.mitm.review_terminal.deciding import Deciding
from llmitm.mitm.review_terminal.keys import Key
from llmitm.mitm.review_terminal.link import refused
from llmitm.mitm.review_terminal.place import ReviewTrouble

_ENDS = "enter ctrl-t ctrl-o ctrl-d gone"
_MOST_KEPT = 200_000


class Live:
    """One operator's live answers, one at a time."""

    def __init__(self, deciding: Deciding) -> None:
        self._deciding = deciding
        self._writing = ""
        self._shown = 0

    def look(self) -> None:
        """Something has changed: whoever writes for a client that is gone need not go on."""
        board = self._deciding.view.board
        if self._writing and (not board.connected or board.held(self._writing) is None):
            self._deciding.asking.pressed([Key("gone")])

    async def write(self, held: Held) -> None:
        """From the first word to the end. Raises ReviewTrouble when it cannot be begun or ended."""
        deciding = self._deciding
        # Who writes already goes on, and nothing would answer a second start.
        if not held.writer or held.writer != deciding.view.board.operator:
            await self._begin(held)
        view, page = deciding.view, deciding.view.page
        view.page, view.live, self._writing, self._shown = "live", [], held.id, 0
        try:
            await self._typed(held)
        finally:
            view.page, view.live, self._writing = page, [], ""

    async def _begin(self, held: Held) -> None:
        start = {"request_id": held.id, "digest": held.digest}
        link = self._deciding.link()
        kind, told = await link.ask("start_response", start, "request_updated")
        if kind == "error":
            raise refused(told)
        if kind != "request_updated":
            raise ReviewTrouble("gone", "it is over already")

    async def _typed(self, held: Held) -> None:
        asking, as_typed = self._deciding.asking, False
        while True:
            if as_typed:
                text: str | None = ""
                end = await self._keys(held)
            else:
                text = await asking.line("line", ends=_ENDS)
                end = "esc" if text is None else asking.ended
            if text:
                await self._say(held, text + ("\n" if end == "enter" else ""))
            elif end == "enter":
                await self._say(held, "\n")
            match end:
                case "gone":
                    raise ReviewTrouble("gone", "it is over: the client has left, or it is decided")
                case "ctrl-t":
                    as_typed = not as_typed
                case "ctrl-o":
                    await self._call(held)
                case "ctrl-d":
                    return await self._finish(held)
                case "esc" if await self._leaves(held):
                    return None
                case _:
                    pass

    async def _keys(self, held: Held) -> str:
        """Sends each key as it comes, until one that ends this; its name."""
        self._deciding.news("as typed: each key goes to the client at once (Ctrl-T: by the line)")
        while True:
            key = await self._deciding.asking.key()
            if key.name in ("esc", *_ENDS.split()[1:]):
                return key.name
            text = "\n" if key.name == "enter" else key.text
            if text:
                await self._say(held, text)

    async def _say(self, held: Held, text: str) -> None:
        deciding = self._deciding
        await deciding.link().send("response_chunk", {"request_id": held.id, "content": text})
        # Only the end is shown: the start of a long answer need not be kept.
        self._shown += len(text)
        deciding.view.live.append(text)
        if self._shown > _MOST_KEPT:
            deciding.view.live[:] = ["".join(deciding.view.live)[-_MOST_KEPT // 2 :]]
            self._shown = _MOST_KEPT // 2
        deciding.asking.repaint()

    async def _call(self, held: Held) -> None:
        calls: list[dict[str, object]] = []
        deciding = self._deciding
        try:
            if not await deciding.add_call(held, calls):
                return
        except ReviewTrouble as trouble:
            deciding.news(str(trouble), bad=True)
            return
        data = {"request_id": held.id, "tool_call": calls[0]}
        await deciding.link().send("add_tool_call", data)
        function = wording.mapping(calls[0]["function"])
        deciding.view.live.append(f"\n[calls {function['name']} {function['arguments']}]\n")

    async def _leaves(self, held: Held) -> bool:
        """Whether the operator writes no further, now or at all."""
        asked = "f finish it here, l leave it for now (s goes on later; Esc: go on)"
        answer = await self._deciding.asking.choice(asked, "fl")
        if answer == "f":
            await self._finish(held)
        elif answer == "l":
            self._deciding.news("not finished: s goes on with it")
        return bool(answer)

    async def _finish(self, held: Held) -> None:
        data = {"request_id": held.id, "note": self._deciding.note_of(held)}
        await self._deciding.send("answer", "finish_response", held, data)
