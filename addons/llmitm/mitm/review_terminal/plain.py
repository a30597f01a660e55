"""The queue for scripts: one thing asked or decided, printed as lines or as one JSON object."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console

from llmitm.desk.review_board import Board, Data, Held, Past, decided, objects, seconds
from llmitm.desk.review_card import age, card_lines, left, one_line, span, usd, wrapped
from llmitm.desk.told import CardView
from llmitm.desk.told import Past as PastView
from llmitm.mitm.review_terminal import wording
from llmitm.mitm.review_terminal.link import Link, refused
from llmitm.mitm.review_terminal.place import Place, ReviewTrouble

OK, FAILED, NOT_ANY_MORE = 0, 1, 3

_LATE = frozenset({"already_decided", "not_found", "stale"})
_WHOLE = ("document", "document_cut", "chat", "chat_cut", "response")
CARD_FIELDS = tuple(CardView.model_fields)
LISTED_FIELDS = tuple(name for name in CARD_FIELDS if name not in _WHOLE)
PAST_FIELDS = tuple(PastView.model_fields)

type Result = tuple[dict[str, Any], str]
"""The JSON object, and the text for people."""
type Work = Callable[[Link, argparse.Namespace], Awaitable[Result]]


async def listed(link: Link, given: argparse.Namespace) -> Result:
    """What waits, oldest first."""
    waiting = link.board.waiting(given.filter)
    now = time.time()
    rows = [_row(held, now) for held in waiting]
    told = {
        "operator": link.board.operator,
        "requests": [_picked(held.data, LISTED_FIELDS) for held in waiting],
        "stats": dict(link.board.stats),
    }
    return told, "\n".join(rows) or "nothing waits"


def _row(held: Held, now_s: float) -> str:
    facts = [held.id, age(held, now_s), left(held, now_s), held.kind, held.client or "-"]
    facts += [held.model or "-", usd(held.cost_usd) or "-", held.state, held.reason]
    return "  ".join(one_line(fact) for fact in facts)


async def shown(link: Link, given: argparse.Namespace) -> Result:
    """All of one card."""
    held = await link.whole(_one(link.board, given.id).id)
    told = _picked(held.data, CARD_FIELDS)
    if given.document:
        return told, held.document.rstrip("\n")
    width = Console().width
    lines = [line.plain for line in wrapped(card_lines(held, time.time()), width)]
    return told, "\n".join(line.rstrip() for line in lines)


async def history(link: Link, given: argparse.Namespace) -> Result:
    """What was decided, newest first."""
    newest = list(reversed(link.board.history))
    told = {"history": [_picked(past.data, PAST_FIELDS) for past in newest]}
    lines = [f"{one_line(past.id)}  {_past(past)}" for past in newest]
    return told, "\n".join(lines) or "nothing was decided yet"


def _past(past: Past) -> str:
    facts = (past.client, past.model, past.kind.replace("_", " "), past.reason)
    return f"{one_line(decided(past))}  {one_line(' · '.join(filter(None, facts)))}"


async def approvals(link: Link, given: argparse.Namespace) -> Result:
    """What is approved for a while, oldest first; or one of them taken back."""
    if given.revoke:
        await link.rest("DELETE", f"approvals/{quote(given.revoke, safe='')}")
        return {"revoked": given.revoke}, f"{given.revoke}: taken back"
    told = await link.rest("GET", "approvals")
    rows = objects(told.get("approvals"))
    return {"approvals": list(rows)}, "\n".join(map(_approval, rows)) or "no approval stands"


def _approval(row: Data) -> str:
    sort = " · ".join(word for word in row.get("sort") or () if word)
    until = seconds(row.get("until"))
    left_s = span(None if until is None else max(0.0, until - time.time()))
    by, used = row.get("by"), row.get("used")
    return one_line(f"{row.get('id')}  {left_s} left  {sort}  by {by}, used {used} times")


async def stats(link: Link, given: argparse.Namespace) -> Result:
    """The figures."""
    told = dict(link.board.stats)
    return told, "\n".join(map(one_line, wording.figures(told)))


async def approve(link: Link, given: argparse.Namespace) -> Result:
    """It goes on as it is."""
    held = _one(link.board, given.id)
    data: dict[str, Any] = {"request_id": held.id, "digest": given.digest or held.digest}
    data["note"] = given.note
    if given.minutes:
        data["minutes"] = given.minutes
    return _result(await link.decide("approve", "approve_request", data))


async def reject(link: Link, given: argparse.Namespace) -> Result:
    """The client is told no."""
    held = _one(link.board, given.id)
    data = wording.rejection(held, given.message, given.form, given.note)
    data["digest"] = given.digest or held.digest
    return _result(await link.decide("reject", "reject_request", data))


async def answer(link: Link, given: argparse.Namespace) -> Result:
    """The operator's words in the model's place."""
    held = _one(link.board, given.id)
    text = given.text
    if given.file:
        text = _content(given.file)
    calls = [wording.tool_call(name, arguments) for name, arguments in given.tool_call]
    data = wording.answer(held, text, calls, given.note, given.reasoning)
    data["digest"] = given.digest or held.digest
    if given.finish_reason:
        data["finish_reason"] = given.finish_reason
    return _result(await link.decide("answer", "complete_response", data))


async def edit(link: Link, given: argparse.Namespace) -> Result:
    """It goes on as the file says."""
    held = _one(link.board, given.id)
    document = _content(given.file)
    wish: dict[str, Any] = {"request_id": held.id, "document": document}
    kind, told = await link.ask("check_edit", wish, "checked")
    if kind == "error":
        raise refused(told)
    if wrong := wording.mistakes(told, given.file):
        raise ReviewTrouble("invalid", "\n".join(wrong), {"errors": told.get("errors")})
    said = wording.warnings(told)
    if said and not given.anyway:
        raise _unconfirmed(said, told)
    wish |= {"digest": given.digest or held.digest, "note": given.note, "anyway": given.anyway}
    try:
        return _result(await link.decide("edit", "edit_request", wish))
    except ReviewTrouble as trouble:
        if trouble.code == "confirm":
            raise _unconfirmed(wording.warnings(trouble.data), trouble.data) from None
        raise


def _unconfirmed(said: list[str], told: Data) -> ReviewTrouble:
    say = "\n".join([*said, "nothing was sent; --anyway sends it"])
    return ReviewTrouble("confirm", say, {"warnings": told.get("warnings")})


def _one(board: Board, start: str) -> Held:
    """The one held thing that is meant by an id or its beginning. Raises ReviewTrouble."""
    found = board.found(start)
    if not found:
        past = next((past for past in reversed(board.history) if past.id == start), None)
        if past is not None:
            raise ReviewTrouble("already_decided", f"{start} is over: {decided(past)}")
        raise ReviewTrouble("not_found", f"nothing that waits has the id {start!r}")
    if len(found) > 1:
        ids = ", ".join(held.id for held in found[:5])
        raise ReviewTrouble("not_found", f"{start!r} could be any of {ids}")
    return found[0]


def _content(file: str) -> str:
    """A file's text; `-` = standard input. Raises ReviewTrouble."""
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode("utf-8")
    except OSError as error:
        raise ReviewTrouble("invalid", f"{file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ReviewTrouble("invalid", f"{file} is not UTF-8 at byte {error.start}") from None


def _result(past: Past) -> Result:
    told = {"request_id": past.id, "action": past.action, "by": past.by}
    told |= {"at": past.at_s, "note": past.note}
    return told, f"{past.id}: {decided(past)}"


def _picked(data: Data, names: tuple[str, ...]) -> dict[str, Any]:
    """These fields in this order, null where the server told none."""
    return {name: data.get(name) for name in names}


def carried_out(work: Work, given: argparse.Namespace, find: Callable[[], Awaitable[Place]]) -> int:
    """Does it and prints what came out; the exit code."""
    try:
        told, text = asyncio.run(_worked(work, given, find))
    except ReviewTrouble as trouble:
        return say_trouble(trouble, as_json=given.json)
    if given.json:
        # The board's and past's own objects; `ok` tells a script without looking at the code.
        print_json({"ok": True, **told})
    else:
        sys.stdout.write(f"{text}\n")
    return OK


async def _worked(
    work: Work, given: argparse.Namespace, find: Callable[[], Awaitable[Place]]
) -> Result:
    link = Link(await find(), Board(), lambda news: None)
    try:
        await link.open()
        reading = asyncio.ensure_future(link.run())
        try:
            return await work(link, given)
        finally:
            reading.cancel()
    finally:
        link.close()


def say_trouble(trouble: ReviewTrouble, *, as_json: bool) -> int:
    """Prints what went wrong; the exit code."""
    if as_json:
        more = {name: trouble.data[name] for name in trouble.data if name in _TOLD}
        print_json({"ok": False, "error": {"code": trouble.code, "message": str(trouble), **more}})
    else:
        sys.stderr.write(f"llmitm review: {trouble}\n")
    return NOT_ANY_MORE if trouble.code in _LATE else FAILED


_TOLD = ("request_id", "by", "action", "errors", "warnings")


def print_json(told: Mapping[str, Any]) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
