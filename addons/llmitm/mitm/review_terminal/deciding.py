"""What an operator does about the chosen card: approve, edit, answer, reject, note.

Each raises ReviewTrouble with what to say when it did not come about; what was typed is kept then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmitm.desk.review_board import Data, Held, decided, title
from llmitm.desk.review_screen import View
from llmitm.desk.said import MOST_STANDING_MINUTES
from llmitm.mitm.review_terminal import wording
from llmitm.mitm.review_terminal.asking import Asking
from llmitm.mitm.review_terminal.editor import Draft, Suspended
from llmitm.mitm.review_terminal.link import Link, refused
from llmitm.mitm.review_terminal.place import ReviewTrouble

_MOST_NOTES = 1000


class Deciding:
    """See the module. link: the connection of this moment; raises ReviewTrouble without one."""

    def __init__(
        self,
        view: View,
        asking: Asking,
        link: Callable[[], Link],
        environ: Mapping[str, str],
        suspended: Suspended,
    ) -> None:
        self.view = view
        self.asking = asking
        self.link = link
        self._environ = environ
        self._suspended = suspended
        self._notes: dict[str, str] = {}

    def draft(self, name: str, text: str) -> Draft:
        """A text for the editor."""
        return Draft(name, text, self._environ, self._suspended)

    def note_of(self, held: Held) -> str:
        """The note that goes with the decision."""
        return self._notes.get(held.id, "")

    def news(self, say: str, *, bad: bool = False) -> None:
        """Tells the operator a line."""
        self.view.news, self.view.bad = say, bad

    async def whole(self, held: Held) -> Held:
        """All of it, remembered for the screen."""
        read = await self.link().whole(held.id)
        self.view.whole = {read.id: read}
        return read

    async def send(self, action: str, kind: str, held: Held, data: Mapping[str, Any]) -> None:
        """Sends a decision; afterwards it counts."""
        self.news("sent …")
        past = await self.link().decide(action, kind, data)
        self._notes.pop(held.id, None)
        self.news(f"{title(held)}: {decided(past)}")

    async def note(self, held: Held) -> None:
        """A note for the log, sent with the decision."""
        text = await self.asking.line("note", self.note_of(held))
        if text is None:
            return
        while len(self._notes) >= _MOST_NOTES:
            del self._notes[next(iter(self._notes))]
        self._notes[held.id] = text.strip()
        self.view.note = text.strip()

    async def approve(self, held: Held, *, minutes: float = 0) -> None:
        """It goes on as it is."""
        if not held.may_approve:
            raise ReviewTrouble("not_allowed", "it cannot be approved: nobody else would answer")
        data: dict[str, Any] = {
            "request_id": held.id,
            "digest": held.digest,
            "note": self.note_of(held),
        }
        if minutes:
            data["minutes"] = minutes
        await self.send("approve", "approve_request", held, data)

    async def approve_sort(self, held: Held) -> None:
        """It, and for some minutes everything of its sort."""
        text = await self.asking.line("approve all of its sort for how many minutes", "10")
        if text is None:
            return
        try:
            minutes = float(text)
        except ValueError:
            minutes = 0
        if not 0 < minutes <= MOST_STANDING_MINUTES:
            say = f"{text!r} is no number of minutes up to {MOST_STANDING_MINUTES}"
            raise ReviewTrouble("invalid", say)
        await self.approve(held, minutes=minutes)

    async def reject(self, held: Held) -> None:
        """The client is told no."""
        forms = {"e": "error", "r": "refusal", "t": "tool_result"}
        keys = "ert" if held.kind == "tool_call" else "er"
        more = ", t the tool's result" if "t" in keys else ""
        asked = f"reject as: e error, r refusal in the model's voice{more} (Esc: not)"
        form = await self.asking.choice(asked, keys)
        if not form:
            return
        message = await self.asking.line("message")
        if message is None:
            return
        data = wording.rejection(held, message.strip(), forms[form], self.note_of(held))
        await self.send("reject", "reject_request", held, data)

    # -- editing ------------------------------------------------------------------------------

    async def edit(self, held: Held) -> None:
        """The document in the editor, until it is right or given up."""
        if not held.may_edit:
            raise ReviewTrouble("not_allowed", "it cannot be edited, only approved or rejected")
        held = await self.whole(held)
        if not held.document:
            raise ReviewTrouble("not_allowed", "there is no document of it to edit")
        draft = self.draft(f"{held.kind}.yaml", held.document)
        line = 0
        while True:
            text = await draft.edit(line)
            if text.rstrip("\n") == held.document.rstrip("\n"):
                draft.drop()
                self.news("nothing was changed, so nothing was sent")
                return
            wish = {"request_id": held.id, "document": text}
            kind, told = await self._asked(draft, "check_edit", wish, "checked")
            if kind == "error" and told.get("code") != "invalid":
                raise self._kept(draft, refused(told))
            wrong = wording.mistakes(told) or ([str(told.get("message"))] * (kind == "error"))
            if not wrong:
                again = await self._confirmed(held, draft, text, told)
                if not again:
                    return
                continue
            line = wording.first_line(told)
            if not await self._again("this cannot be sent", wrong):
                raise draft.trouble("the edit was given up")

    async def _confirmed(self, held: Held, draft: Draft, text: str, told: Data) -> bool:
        """Sends the edit once its warnings are accepted; True = the editor again."""
        wish: dict[str, Any] = {"request_id": held.id, "digest": held.digest, "document": text}
        wish["note"] = self.note_of(held)
        while True:
            if said := wording.warnings(told):
                asked = "y send, e edit again (Esc: not)"
                answer = await self._shown("before this is sent", said, asked, "ye")
                if answer == "e":
                    return True
                if not answer:
                    raise draft.trouble("the edit was given up")
                wish["anyway"] = True
            try:
                await self.send("edit", "edit_request", held, wish)
            except ReviewTrouble as trouble:
                if trouble.code == "confirm" and not wish.get("anyway"):
                    told = trouble.data
                    continue
                raise self._kept(draft, trouble) from None
            draft.drop()
            return False

    async def _asked(self, draft: Draft, kind: str, data: Data, answer: str) -> tuple[str, Data]:
        try:
            return await self.link().ask(kind, data, answer)
        except ReviewTrouble as trouble:
            raise self._kept(draft, trouble) from None

    def _kept(self, draft: Draft, trouble: ReviewTrouble) -> ReviewTrouble:
        return draft.trouble(str(trouble), trouble.code)

    async def _again(self, say: str, lines: list[str]) -> bool:
        asked = "Enter opens the editor again, Esc gives up (the text is kept)"
        return bool(await self._shown(say, lines, asked, "\n"))

    async def _shown(self, say: str, lines: list[str], asked: str, keys: str) -> str:
        """Shows lines on a page of their own, with a question below."""
        page, scroll = self.view.page, self.view.scroll
        self.view.page, self.view.scroll = "told", 0
        self.view.told = [say + ":", "", *(f"  {line}" for line in lines)]
        try:
            return await self.asking.choice(asked, keys)
        finally:
            self.view.page, self.view.scroll, self.view.told = page, scroll, ()

    # -- answering in the model's place -------------------------------------------------------

    async def answer(self, held: Held) -> None:
        """A text from the editor, and tool calls, as the model's answer."""
        held = await self.whole(held)
        draft = self.draft("answer.md", wording.answer_template(held))
        calls: list[dict[str, Any]] = []
        text = wording.answer_text(await draft.edit())
        while True:
            answer = await self._ready(text, calls)
            if answer == "e":
                text = wording.answer_text(await draft.edit())
            elif answer == "t":
                try:
                    await self.add_call(held, calls)
                except ReviewTrouble as trouble:
                    self.news(str(trouble), bad=True)
            elif not answer:
                if not text and not calls:
                    draft.drop()
                    self.news("nothing was sent")
                    return
                raise draft.trouble("nothing was sent")
            else:
                try:
                    data = wording.answer(held, text, calls, self.note_of(held))
                    await self.send("answer", "complete_response", held, data)
                except ReviewTrouble as trouble:
                    raise self._kept(draft, trouble) from None
                draft.drop()
                return

    async def answer_line(self, held: Held) -> None:
        """One typed line as the model's answer."""
        text = await self.asking.line("answer")
        if text is None:
            return
        data = wording.answer(held, text, [], self.note_of(held))
        await self.send("answer", "complete_response", held, data)

    async def answer_call(self, held: Held) -> None:
        """One or more tool calls as the model's answer."""
        calls: list[dict[str, Any]] = []
        while True:
            if not await self.add_call(held, calls):
                return
            answer = await self._ready("", calls)
            if answer == "y":
                data = wording.answer(held, "", calls, self.note_of(held))
                await self.send("answer", "complete_response", held, data)
            if answer != "t":
                return

    async def _ready(self, text: str, calls: list[dict[str, Any]]) -> str:
        names = ", ".join(str(call["function"]["name"]) for call in calls)
        what = f"{len(text):,} characters" + (f", calls {names}" if calls else "")
        asked = f"send this answer ({what})? y send, t add a tool call, e edit (Esc: not)"
        return await self.asking.choice(asked, "yte")

    async def add_call(self, held: Held, calls: list[dict[str, Any]]) -> bool:
        """Asks for one tool call and adds it; False = the operator has thought better of it."""
        name = await self.asking.line("tool (Tab offers)", complete=held.tools)
        if name is None:
            return False
        asked = "arguments, a JSON object (Ctrl-O: editor)"
        text = await self.asking.line(asked, "{}", ends="enter ctrl-o")
        if text is None:
            return False
        if self.asking.ended == "enter":
            calls.append(wording.tool_call(name, text))
            return True
        draft = self.draft("arguments.json", f"{text}\n")
        while True:
            try:
                calls.append(wording.tool_call(name, await draft.edit()))
            except ReviewTrouble as trouble:
                if await self._again("these arguments cannot be sent", [str(trouble)]):
                    continue
                raise self._kept(draft, trouble) from None
            draft.drop()
            return True
