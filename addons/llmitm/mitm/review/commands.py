"""The commands of the review, in the console, in mitmweb, or over its REST interface.

They decide about flows that are held, as the page does; whoever decides first wins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mitmproxy import command, ctx, exceptions, types
from mitmproxy.flow import Flow

from llmitm.desk.cards import Card
from llmitm.desk.edits import document_of, edited
from llmitm.desk.messages import CompleteResponse, RejectRequest
from llmitm.desk.queue import Queue
from llmitm.desk.review_error import ReviewError
from llmitm.desk.rulings import answer, rejection
from llmitm.errors import DocumentError
from llmitm.mitm.review.desk import BY_MITMPROXY
from llmitm.mitm.review.wishes import ByHand
from llmitm.mitm.running import CONVERSATION
from llmitm.ruleset.review import HELD
from llmitm.stages.contract import FORWARD

NO_FILE = types.Path("")
FORMS = ("error", "refusal", "tool_result")


class ReviewCommands:
    """See the module."""

    def __init__(self, queue: Queue, by_hand: ByHand) -> None:
        self._queue = queue
        self._by_hand = by_hand

    @command.command("llm.queue")
    def show_queue(self) -> str:
        """What waits for an operator, a line each, oldest first."""
        return "\n".join(map(_line, self._queue.waiting())) or "Nothing waits."

    @command.command("llm.approve")
    def approve(self, flows: Sequence[Flow], minutes: int = 0) -> str:
        """Lets what is held of these flows go on; minutes: and all of its sort for so long."""
        return self._each(
            flows,
            "approved",
            lambda card: self._queue.decide(
                card.id, "approve", FORWARD, BY_MITMPROXY, minutes=minutes
            ),
        )

    @command.command("llm.reject")
    @command.argument("form", type=types.Choice("llm.reject.forms"))
    def reject(self, flows: Sequence[Flow], message: str = "", form: str = "error") -> str:
        """Says no to what is held: as an error, a refusal of the model, or a tool's result."""
        if form not in FORMS:
            raise exceptions.CommandError(f"form: {form} is none of {', '.join(FORMS)}")

        def no(card: Card) -> None:
            said = RejectRequest.model_validate(
                {"request_id": card.id, "reason": message, "form": form}
            )
            self._queue.decide(card.id, "reject", rejection(said, card), BY_MITMPROXY)

        return self._each(flows, "rejected", no)

    @command.command("llm.reject.forms")
    def forms(self) -> Sequence[str]:
        """How something can be rejected."""
        return list(FORMS)

    @command.command("llm.answer")
    def answer(self, flows: Sequence[Flow], text: str) -> str:
        """Answers in place of the model, of its answer, or of the call that is held."""

        def said(card: Card) -> None:
            words = CompleteResponse.model_validate({"request_id": card.id, "content": text})
            self._queue.decide(card.id, "answer", answer(words, card), BY_MITMPROXY)

        return self._each(flows, "answered", said)

    @command.command("llm.edit")
    def edit(self, flow: Flow, file: types.Path = NO_FILE) -> str:
        """Edits what is held as a YAML document: in the external editor, or read from a file."""
        card = self._card(flow)
        if card is None:
            raise exceptions.CommandError("nothing of this flow is held")
        if file:
            try:
                document = Path(file).expanduser().read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise exceptions.CommandError(f"{file}: {error}") from error
        else:
            spawn: Callable[[str], str] | None = getattr(ctx.master, "spawn_editor", None)
            if spawn is None:
                raise exceptions.CommandError("there is no editor here: give a file")
            before = document_of(card)
            document = spawn(before)
            if document == before:
                return "Nothing was changed; it is still held."
        try:
            decided = edited(card, document)
            self._queue.decide(card.id, "edit", decided, BY_MITMPROXY, digest=card.digest)
        except (DocumentError, ReviewError) as error:
            raise exceptions.CommandError(str(error)) from error
        return "Edited."

    @command.command("llm.document")
    def document(self, flow: Flow) -> str:
        """What is held of this flow, as the YAML document that `llm.edit` takes."""
        card = self._card(flow)
        if card is None:
            raise exceptions.CommandError("nothing of this flow is held")
        return document_of(card)

    @command.command("llm.hold")
    def hold(self, flows: Sequence[Flow]) -> str:
        """Holds the answers of these flows and all that follows in their conversations."""
        for flow in flows:
            self._by_hand.hold(flow.id, str(flow.metadata.get(CONVERSATION, "")))
        return "What follows there is held until llm.hold.off."

    @command.command("llm.hold.all")
    def hold_all(self) -> str:
        """Holds every request and every answer from now on."""
        self._by_hand.all = frozenset(HELD)
        return "Everything is held until llm.hold.off."

    @command.command("llm.hold.off")
    def hold_off(self) -> str:
        """Nothing more is held by hand; what waits still waits."""
        self._by_hand.release()
        return "Only the rules hold from now on."

    def _card(self, flow: Flow) -> Card | None:
        # What waits on a WebSocket is one of many exchanges of its flow.
        waiting = self._queue.waiting()
        return next((one for one in waiting if one.exchange.split(".")[0] == flow.id), None)

    def _each(self, flows: Sequence[Flow], done: str, act: Callable[[Card], None]) -> str:
        """Decides about what is held of each flow, and says how many there were."""
        held = [card for card in (self._card(flow) for flow in flows) if card is not None]
        if not held:
            raise exceptions.CommandError("nothing of these flows is held")
        problems: list[str] = []
        for card in held:
            try:
                act(card)
            except ReviewError as error:
                problems.append(str(error))
        if problems:
            raise exceptions.CommandError("; ".join(problems))
        return f"{len(held)} {done}."


def _line(card: Card) -> str:
    """One card in a line."""
    what = card.call.name if card.call is not None else card.kind
    who = card.client or "unknown client"
    return f"{card.exchange}  {what}  {who}  {card.provider}:{card.model}  {card.reason}"
