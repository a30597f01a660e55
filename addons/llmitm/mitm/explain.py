"""`llmitm explain`: what would the rules make of this request, who would be asked, and why?

The call goes through the house as a client's would, on a memory of its own. Never: sends anything,
touches state on the disk, shows a key.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from llmitm.canon.events import Fault
from llmitm.canon.turns import text_of
from llmitm.canon.values import Json
from llmitm.desk.explain_table import explain_table
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.json_text import dump
from llmitm.errors import ClientWireError
from llmitm.exchange.exchange import Exchange
from llmitm.exchange.forecast import Forecast, Foreseen, foresee
from llmitm.exchange.house import House
from llmitm.mitm.explain_input import Asked, Call, UsageError, call_of
from llmitm.mitm.rulebook import Kept, build_house
from llmitm.mitm.translate import SHORT_NAMES
from llmitm.record.ram_memory import RamMemory
from llmitm.ruleset.documents import find
from llmitm.ruleset.loading import load
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.selectors import BadSelector, Form
from llmitm.stages.contract import Answer, Refuse

_OK, _FAILED = 0, 1
_KEYS = ("own", "placeholder", "none", "client-key")
_GREETING = "Hello"
_SHORTEST_SECRET = 6
_HIDDEN = "(hidden)"


def parser() -> argparse.ArgumentParser:
    """The command line of `llmitm explain`."""
    made = argparse.ArgumentParser(
        prog="llmitm explain",
        usage="llmitm explain [--model M] [--file REQUEST.json] [--provider P] [--from X] [...]",
        description="Tells which rules a request would meet, who would be asked for it in which "
        "order, and why. Nothing is sent. Without --file a small request is made up. Exit code 1: "
        "the client would get an error.",
        epilog=f"protocols: {', '.join(DIALECTS)}; "
        + ", ".join(f"{short} = {name}" for short, name in SHORT_NAMES.items()),
    )
    made.add_argument("--model", default="", metavar="M", help="the model that is asked for")
    made.add_argument("--file", default="", metavar="FILE", help="a request's body; - = pipe")
    made.add_argument("--provider", default="", metavar="P", help="whom the client calls")
    made.add_argument(
        "--from",
        dest="source",
        default="",
        choices=["", *SHORT_NAMES, *DIALECTS],
        metavar="X",
        help="the protocol that the client speaks",
    )
    made.add_argument("--text", default="", metavar="T", help="what the user says")
    made.add_argument("--whole", action="store_true", help="the client asks for no stream")
    made.add_argument(
        "--client-key-is",
        default="own",
        choices=_KEYS,
        help="what the client shows as its key (own: one of its own at that provider)",
    )
    made.add_argument("--remote", action="store_true", help="the client is on another machine")
    made.add_argument("--rules", default="", metavar="DIR", help="rules laid over the others")
    made.add_argument("--json", action="store_true", help="everything as one JSON object")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Explains one request; the exit code: 0 = it is served, 1 = the client gets an error."""
    line = parser()
    given = line.parse_args(argv)
    if not given.model and not given.file:
        line.error("give --model, --file or both")
    if given.text and given.file:
        line.error("--text is for a request that is made up; the file has its own")
    try:
        body = _content(given.file)
    except OSError as error:
        line.error(f"cannot read {given.file}: {error.strerror or error}")
    rules = load(str(Path(given.rules).absolute()) if given.rules else "")
    asked = Asked(
        body=body,
        model=given.model,
        provider=given.provider,
        protocol=SHORT_NAMES.get(given.source, given.source),
        key=given.client_key_is,
        local=not given.remote,
        stream=not given.whole,
        text=given.text or _GREETING,
    )
    try:
        call = call_of(asked, rules)
    except UsageError as error:
        line.error(str(error))
    except ClientWireError as error:
        sys.stderr.write(f"llmitm explain: {given.file or 'the request'}: {error}\n")
        return _FAILED
    report = explain(call, rules)
    if given.json:
        sys.stdout.buffer.write(dump(report) + b"\n")
        sys.stdout.buffer.flush()
    else:
        Console(highlight=False).print(explain_table(report))
    return _FAILED if report["error"] else _OK


def _content(file: str) -> bytes | None:
    if not file:
        return None
    if file != "-":
        return Path(file).read_bytes()
    if sys.stdin.isatty():
        sys.stderr.write("reading standard input; end it with Ctrl-D\n")
    return sys.stdin.buffer.read()


def explain(call: Call, rules: Ruleset) -> dict[str, Json]:
    """What would happen, as JSON. The keys are the same each time; `error` null = it is served."""
    house = _house(rules)
    exchange = Exchange.open(house, call.endpoint, call.wire, "explain")
    end, notes = exchange.decision.end, tuple(exchange.notes)
    forecast = Forecast()
    fault: Fault | None = None
    if end is None:
        forecast = foresee(exchange)
        fault = forecast.fault
    elif isinstance(end, Refuse):
        fault = end.fault
    local = isinstance(end, Answer)
    report: dict[str, Json] = {
        "request": _request(call, exchange),
        "stages": [*_stages(exchange)],
        "answered_here": text_of(end.response.choices[0].parts) if local else None,
        "race": forecast.race,
        "attempts": [_attempt(one) for one in forecast.attempts],
        "left_out": [{"target": target, "why": why} for target, why in forecast.left_out],
        "when_all_fail": forecast.fate,
        "limits": _limits(rules),
        "notes": list(notes),
        "error": _error(fault, exchange) if fault is not None else None,
    }
    return _without_secrets(report, _secrets(rules))  # pyright: ignore[reportReturnType]


def _house(rules: Ruleset) -> House:
    """A house that nobody lives in: nothing rests, every lot falls on the written order."""
    house = build_house(rules, Kept(RamMemory(b"explain")), observe=False)
    return replace(house, chooser=replace(house.chooser, roll=lambda: 0.0))


def _request(call: Call, exchange: Exchange) -> dict[str, Json]:
    wire, turn = call.wire, exchange.turn
    return {
        "url": f"{wire.scheme}://{wire.host}{wire.path}",
        "provider": turn.provider,
        "protocol": turn.protocol,
        "model": turn.model,
        "stream": exchange.wants_stream,
        "client": turn.client,
        "conversation_id": turn.client_conversation,
        "key": exchange.client.wants,
    }


def _stages(exchange: Exchange) -> Iterator[dict[str, Json]]:
    """Every stage in order; those after an end did not run."""
    told = {row.stage: row for row in exchange.decision.trace}
    for row in exchange.house.ruleset.pipeline.stages:
        said = told.get(row.name)
        if not row.enabled:
            effect, why = "off", "enabled: false in pipeline.yaml"
        elif said is None:
            effect, why = "not run", ""
        else:
            effect, why = said.effect.lower(), said.why
        yield {
            "stage": row.name,
            "effect": effect,
            "why": why,
            "where": _where(row.name, why, exchange) if said is not None and said.why else "",
        }


def _where(stage: str, why: str, exchange: Exchange) -> str:
    """File and line of the rule that decided, empty = no single one did."""
    rules, model = exchange.house.ruleset, exchange.turn.model
    file, path = "", ()
    if stage == "route" and why.startswith("static route"):
        file, path = "routes.yaml", ("static_route",)
    elif stage == "route" and why.startswith("alias "):
        fitting = (i for i, each in enumerate(rules.aliases) if each.pattern.match(model))
        file, path = "routes.yaml", ("aliases", next(fitting, 0))
    elif stage == "route" and model in rules.named_routes:
        file, path = "routes.yaml", ("failover_routes", model)
    elif stage in ("auxiliary", "planning"):
        file, path = "rewrites.yaml", (stage,)
    return str(find(rules.trees[file], path).place) if file else ""


def _attempt(one: Foreseen) -> dict[str, Json]:
    out = one.out
    return {
        "label": one.label,
        "lane": out.lane if out else None,
        "protocol": out.protocol if out else None,
        "url": one.url or None,
        "key": one.key,
        "first_byte_s": one.ttfb_s,
        "why": list(one.why),
        "changes": list(out.notes) if out else [],
        "losses": [
            {"feature": loss.feature, "path": loss.path, "how": loss.how, "say": loss.say}
            for loss in one.losses
        ],
        "problem": one.fault.message if one.fault is not None else None,
    }


def _limits(rules: Ruleset) -> dict[str, Json]:
    """The waits and budgets in force, by their names in routes.yaml."""
    routes = rules.routes
    shown: dict[str, Any] = {
        **routes.failover.model_dump(),
        **routes.times.model_dump(),
        "duplicates": routes.duplicates.mode,
        "losses": routes.losses,
    }
    return shown


def _error(fault: Fault, exchange: Exchange) -> dict[str, Json]:
    bad = _bad_selector(fault, exchange)
    return {
        "status": fault.status or 500,
        "code": fault.code or fault.kind,
        "message": fault.message,
        "selector": bad[0] if bad else None,
        "at": bad[1].at if bad else None,
    }


def _bad_selector(fault: Fault, exchange: Exchange) -> tuple[str, BadSelector] | None:
    """(the text, what is wrong in it) where a selector is to blame."""
    rules, turn = exchange.house.ruleset, exchange.turn
    if fault.code != "invalid_selector":
        return None
    settings = turn.conversation.settings
    replaced = rules.alias(turn.model)
    texts: tuple[tuple[str | None, Form], ...] = (
        (settings.model, "rule"),
        (f"{settings.backend}:{turn.model}" if settings.backend else None, "rule"),
        (replaced, "rule"),
        (turn.model, "client"),
    )
    for text, form in texts:
        found = rules.selector(text, form) if text else None
        if text and isinstance(found, BadSelector) and str(found) in fault.message:
            return text, found
    return None


def _secrets(rules: Ruleset) -> tuple[str, ...]:
    """Every key that is held, the longest first."""
    keys = [key for name in rules.providers for key in rules.keys(name)]
    texts = {key.get_secret_value() for key in (*keys, *rules.client_keys)}
    return tuple(sorted((t for t in texts if len(t) >= _SHORTEST_SECRET), key=len, reverse=True))


def _without_secrets(value: Json, secrets: Sequence[str]) -> Json:
    """The same value; a key that came in by a URL or a message is not shown."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, _HIDDEN)
        return value
    if isinstance(value, Mapping):
        return {key: _without_secrets(each, secrets) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_secrets(each, secrets) for each in value]
    return value
