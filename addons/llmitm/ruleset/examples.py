"""Do the examples of providers, aliases and clients hold? They are tests that a file carries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from llmitm.errors import RuleError
from llmitm.ruleset.documents import Place, error_at, find
from llmitm.ruleset.matching import Endpoint
from llmitm.ruleset.providers import ExampleRow
from llmitm.ruleset.ruleset import Ruleset

_FILE = "providers.yaml"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one example came to. got: None = the call was not recognised; error: None = it holds."""

    call: str
    place: Place
    wanted: Endpoint
    got: Endpoint | None
    error: RuleError | None


def outcomes(ruleset: Ruleset) -> Iterator[Outcome]:
    """Every example of every enabled provider, tried."""
    tree = ruleset.trees[_FILE]
    rows = find(tree, ("providers",)).value
    for index, node in enumerate(rows if isinstance(rows, list) else ()):
        named = node.value.get("name") if isinstance(node.value, dict) else None
        provider = ruleset.providers.get(str(named.value)) if named is not None else None
        for number, example in enumerate(provider.row.examples if provider else ()):
            path = ("providers", index, "examples", number)
            wanted = _wanted(str(provider.row.name) if provider else "", example)
            got = _tried(ruleset, example.call)
            error = None if got == wanted else error_at(tree, path, _say(example, wanted, got))
            yield Outcome(example.call, find(tree, path).place, wanted, got, error)


def failed_calls(ruleset: Ruleset) -> Iterator[RuleError]:
    """The examples of providers that do not hold."""
    return (one.error for one in outcomes(ruleset) if one.error is not None)


def failed_aliases(ruleset: Ruleset) -> Iterator[RuleError]:
    """The examples of aliases that do not hold."""
    for index, row in enumerate(ruleset.routes.aliases):
        for number, example in enumerate(row.examples):
            got = ruleset.alias(example.model)
            if got != example.becomes:
                say = f"{example.model} {'stays' if got is None else f'becomes {got}'}"
                path = ("aliases", index, "examples", number)
                yield error_at(ruleset.trees["routes.yaml"], path, say)


def failed_clients(ruleset: Ruleset) -> Iterator[RuleError]:
    """The examples of clients that do not hold."""
    for index, row in enumerate(ruleset.clients.clients):
        for number, example in enumerate(row.examples):
            headers = {name.lower(): value for name, value in example.headers.items()}
            found = ruleset.clients.recognise(headers)
            folder = _folder(ruleset, row.name, example.text)
            if found is None or found.name != row.name:
                say = f"not taken for {row.name}, but {f'for {found.name}' if found else 'unknown'}"
            elif folder != example.project_dir:
                say = f"{row.name} tells the folder {folder}"
            else:
                continue
            path = ("clients", index, "examples", number)
            yield error_at(ruleset.trees["clients.yaml"], path, say)


def _folder(ruleset: Ruleset, client: str, text: str) -> str | None:
    hits = (pattern.search(text) for pattern in ruleset.clients.project_dir(client))
    return next((hit[hit.lastindex or 0].strip() for hit in hits if hit is not None), None)


def _wanted(provider: str, example: ExampleRow) -> Endpoint:
    return Endpoint(
        provider=provider,
        protocol=example.protocol,
        kind=example.kind,
        model=example.model,
        stream=example.stream,
    )


def _tried(ruleset: Ruleset, call: str) -> Endpoint | None:
    method, _, url = call.partition(" ")
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return ruleset.match(parts.hostname or "", port, method, path)


def _say(example: ExampleRow, wanted: Endpoint, got: Endpoint | None) -> str:
    if got is None:
        return f"{example.call} is not recognised as a call"
    return f"{example.call} is {_shown(got)}, not {_shown(wanted)}"


def _shown(endpoint: Endpoint) -> str:
    streams = {None: "", True: ", streamed", False: ", whole"}[endpoint.stream]
    model = f" model {endpoint.model}" if endpoint.model else ""
    return f"{endpoint.provider}'s {endpoint.protocol} {endpoint.kind}{model}{streams}"
