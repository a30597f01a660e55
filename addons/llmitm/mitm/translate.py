"""`llmitm translate`: one recorded body in another protocol, and what that loses.

For people who debug a provider, and for tests. Never: network, keys, files other than the one named
and the rule files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from llmitm.canon.events import Event, Opaque, PartStart, Ping, Start
from llmitm.canon.fold import fold
from llmitm.canon.parts import ToolCall
from llmitm.canon.values import DEFAULT_FACTS, Facts, Json, Loss
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Encoded, Reply
from llmitm.dialects.framing_aws_eventstream import MEDIA_TYPE
from llmitm.dialects.json_text import dump, parse
from llmitm.dialects.recognise import (
    Shape,
    answer_dialect,
    request_dialect,
    same_family,
    shape_of,
    stream_dialect,
)
from llmitm.errors import ClientWireError, RuleError
from llmitm.mitm import translate_input as given_input
from llmitm.ruleset.loading import load

_OK, _NOT_UNDERSTOOD = 0, 1

SHORT_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "openai": "openai_chat",
        "responses": "openai_responses",
        "anthropic": "anthropic_messages",
        "gemini": "gemini_generate",
        "ollama": "ollama_chat",
        "generate": "ollama_generate",
        "bedrock": "bedrock_converse",
        "invoke": "bedrock_invoke",
    }
)
"""What protocols may be called on a command line besides."""

_PROVIDERS: Mapping[str, str] = MappingProxyType(
    {
        "openai_chat": "openai",
        "openai_responses": "openai-responses",
        "anthropic_messages": "anthropic",
        "gemini_generate": "gemini",
        "gemini_code_assist": "gemini",
        "ollama_chat": "ollama",
        "ollama_generate": "ollama",
        "bedrock_converse": "bedrock",
        "bedrock_invoke": "bedrock",
    }
)
"""Whose rules a request is written for."""

type Form = Shape | Literal["events"]
"""`events`: an AWS event stream."""

_MEDIA_TYPES: Mapping[Form, str] = MappingProxyType(
    {
        "sse": "text/event-stream",
        "array": "application/json",
        "lines": "application/x-ndjson",
        "events": MEDIA_TYPE,
    }
)

_IN_PATH = ("gemini", "bedrock")
"""Protocols that have the model in the path."""

_LOOK_ALIKES = frozenset({("ollama_chat", "openai_chat"), ("ollama_chat", "anthropic_messages")})
"""(protocol, what its requests may be taken for): their messages look the same."""

_BARE = frozenset({"ollama_generate", "bedrock_converse", "bedrock_invoke"})
"""Protocols some of whose bodies have no telling keys: theirs because the person says so."""

_FORMS = (
    "the body of a request, of a whole answer or error, or of a stream (server-sent events, a JSON "
    "array, JSON lines, an AWS event stream), plain or as gzip, br or zstd, without HTTP headers"
)

type Kind = Literal["request", "answer", "error", "stream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """One body in the other protocol. notes: what the person should know besides."""

    kind: Kind
    encoded: Encoded
    notes: tuple[str, ...] = ()


def parser() -> argparse.ArgumentParser:
    """The command line of `llmitm translate`."""
    made = argparse.ArgumentParser(
        prog="llmitm translate",
        usage="llmitm translate --from X --to Y [--json] [--model M] [FILE]",
        description="Writes a request, an answer, an error or a stream of one protocol in another: "
        "the result on standard output, its losses on standard error. Which of them it is, is seen "
        "from its shape. Exit code 1: the input was not understood.",
        epilog=f"protocols: {', '.join(DIALECTS)}; "
        + ", ".join(f"{short} = {name}" for short, name in SHORT_NAMES.items()),
    )
    names = [*SHORT_NAMES, *DIALECTS]
    made.add_argument("--from", dest="source", required=True, choices=names, metavar="X")
    made.add_argument("--to", dest="target", required=True, choices=names, metavar="Y")
    made.add_argument("--json", action="store_true", help="everything as one JSON object")
    made.add_argument(
        "--model", default="", metavar="M", help="the model to write (Gemini has it in the path)"
    )
    made.add_argument("file", nargs="?", default="-", metavar="FILE", help="absent or -: pipe")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Translates one body; the exit code: 0, or 1 when it was not understood."""
    line = parser()
    given = line.parse_args(argv)
    source = SHORT_NAMES.get(given.source, given.source)
    target = SHORT_NAMES.get(given.target, given.target)
    try:
        body = _read(given.file)
    except OSError as error:
        line.error(f"cannot read {given.file}: {error.strerror or error}")
    try:
        made = translate(body, source, target, given.model)
    except ClientWireError as error:
        sys.stderr.write(f"llmitm translate: {error}\n")
        return _NOT_UNDERSTOOD
    if given.json:
        sys.stdout.buffer.write(dump(_as_object(made, source, target)) + b"\n")
        return _OK
    sys.stderr.writelines(f"note: {note}\n" for note in made.notes)
    sys.stderr.writelines(f"{line}\n" for line in _told(made.encoded.losses))
    sys.stdout.buffer.write(_printed(made.encoded.body, for_person=sys.stdout.isatty()))
    sys.stdout.buffer.flush()
    return _OK


def _printed(body: bytes, *, for_person: bool) -> bytes:
    """What goes to standard output: a line end after text, and nothing added to binary."""
    if given_input.is_event_stream(body):
        if not for_person:
            return body
        return b"".join(dump(message) + b"\n" for message in given_input.readable(body))
    return body if body.endswith(b"\n") else body + b"\n"


def _read(file: str) -> bytes:
    if file != "-":
        return Path(file).read_bytes()
    if sys.stdin.isatty():
        sys.stderr.write("reading standard input; end it with Ctrl-D\n")
    return sys.stdin.buffer.read()


def translate(body: bytes, source: str, target: str, model: str = "") -> Translation:
    """The body in the protocol `target`. model: written in place of its own, empty = its own.

    The body may be compressed. Raises ClientWireError, which says what to do next, for what is no
    body of `source`.
    """
    body, coding = given_input.uncompressed(body)
    form = _form(body, source)
    seen = _seen(body, form)
    notes: list[str] = [f"the input is {coding}"] if coding else []
    alike = form == "request" and (source, seen) in _LOOK_ALIKES
    if not alike and not same_family(source, seen):
        notes.append(f"this looks like {seen}, not {source}: try --from {seen}")
    if form == "events" and (trouble := given_input.broken(body)):
        notes.append(trouble)
    try:
        match form:
            case "request":
                kind, encoded = "request", _request(body, source, target, model, notes)
            case "answer":
                kind, encoded = _answer(body, source, target, model)
            case "sse" | "array" | "lines" | "events":
                kind = "stream"
                encoded = _stream(body, form, source, target, model)
            case "":
                raise ClientWireError("", _why_not(body))
    except ClientWireError as error:
        raise ClientWireError(error.pointer, "; ".join((error.say, *notes))) from None
    return Translation(kind=kind, encoded=encoded, notes=tuple(notes))


def _form(body: bytes, source: str) -> Form:
    if given_input.is_event_stream(body):
        return "events"
    shape = shape_of(body)
    if shape or source not in _BARE:
        return shape
    dialect = DIALECTS[source]
    try:
        if not isinstance(parse(body), dict):
            return ""
    except ValueError:
        return ""
    if not _says_nothing(dialect.decode_response(body)):
        return "answer"
    try:
        return "request" if dialect.decode_request(body).messages else ""
    except ClientWireError:
        return ""


def _seen(body: bytes, form: Form) -> str:
    match form:
        case "":
            return ""
        case "events":
            return given_input.event_dialect(body)
        case "request":
            return request_dialect(parse(body))
        case "answer":
            return answer_dialect(parse(body))
        case _:
            return stream_dialect(body, form)


def _why_not(body: bytes) -> str:
    if not body.strip():
        return f"the input is empty; give {_FORMS}"
    if not given_input.is_text(body):
        start = given_input.first_bytes(body)
        return f"binary of no known kind, it begins with {start}; give {_FORMS}"
    try:
        value = parse(body)
    except ValueError as error:
        return f"neither JSON ({error}) nor server-sent events; give {_FORMS}"
    known = "`messages`, `input`, `contents`, `choices`, `output`, `content`, `candidates`, `error`"
    if isinstance(value, dict):
        keys = ", ".join(f"`{key}`" for key in list(value)[:8]) or "nothing"
        return f"none of {known} is here, only {keys}; give {_FORMS}"
    return f"an object is needed, not {type(value).__name__}; give {_FORMS}"


def _request(body: bytes, source: str, target: str, model: str, notes: list[str]) -> Encoded:
    try:
        request = DIALECTS[source].decode_request(body)
    except ClientWireError as error:
        say = f"no request of {source}: {error.say}"
        more = "correct it there, or name its protocol with --from"
        raise ClientWireError(error.pointer, f"{say}; {more}") from None
    if model:
        request = replace(request, model=model)
    elif not request.model and not target.startswith(_IN_PATH):
        notes.append("the model is empty, as this protocol has it in the path: give --model")
    return DIALECTS[target].encode_request(request, _facts(target, request.model))


def _facts(target: str, model: str) -> Facts:
    rules = load()
    try:
        return rules.facts(_PROVIDERS.get(target, ""), model)
    except RuleError:
        # Rules of one's own may leave that provider out; models have their limits all the same.
        return rules.models.facts(model, DEFAULT_FACTS) if model else DEFAULT_FACTS


def _answer(body: bytes, source: str, target: str, model: str) -> tuple[Kind, Encoded]:
    events = DIALECTS[source].decode_response(body)
    _must_tell(events, source, "answer")
    response = fold(events)
    dialect = DIALECTS[target]
    if response.fault is not None and not response.choices:
        return "error", Encoded(dialect.encode_error(response.fault))
    return "answer", dialect.encode_response(response, _reply(events, model))


def _stream(body: bytes, form: Form, source: str, target: str, model: str) -> Encoded:
    decoder = DIALECTS[source].stream_decoder(_MEDIA_TYPES[form])
    frames = [*decoder.feed(body), *decoder.close()]
    events = [event for frame in frames for event in frame.events]
    _must_tell(events, source, "stream")
    encoder = DIALECTS[target].stream_encoder(_reply(events, model))
    return Encoded(encoder.feed(events) + encoder.close(), tuple(encoder.losses))


def _must_tell(events: Sequence[Event], source: str, what: str) -> None:
    if _says_nothing(events):
        say = f"nothing in this {what} is {source}'s; name its protocol with --from"
        raise ClientWireError("", say)


def _says_nothing(events: Sequence[Event]) -> bool:
    return all(isinstance(event, Opaque | Ping | Start) for event in events)


def _reply(events: Sequence[Event], model: str) -> Reply:
    calls = [event.part for event in events if isinstance(event, PartStart)]
    custom = frozenset(
        part.name for part in calls if isinstance(part, ToolCall) and part.kind == "custom"
    )
    return Reply(model=model, stream_usage=True, custom_tools=custom)


def _told(losses: Sequence[Loss]) -> list[str]:
    dropped = sum(loss.how == "dropped" for loss in losses)
    if not losses:
        return ["nothing is lost"]
    wide = max(len(loss.feature) for loss in losses)
    rows = [
        f"  {loss.how:<7}  {loss.feature:<{wide}}  {loss.path or '-'}  {loss.say}".rstrip()
        for loss in losses
    ]
    return [f"{dropped} dropped, {len(losses) - dropped} adapted:", *rows]


def _as_object(made: Translation, source: str, target: str) -> Json:
    body = made.encoded.body
    result: Json
    if given_input.is_event_stream(body):
        result = given_input.readable(body)
    else:
        result = body.decode("utf-8", "replace") if made.kind == "stream" else parse(body)
    losses: list[Json] = [
        {"feature": loss.feature, "path": loss.path, "how": loss.how, "say": loss.say}
        for loss in made.encoded.losses
    ]
    return {
        "kind": made.kind,
        "from": source,
        "to": target,
        "result": result,
        "losses": losses,
        "notes": list(made.notes),
    }
