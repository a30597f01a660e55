"""Which values are secrets by the rules and the environment, and do the rows' examples hold?

Only variables that rules name are read. Never: shows a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pydantic import SecretStr

from llmitm.canon.values import Path
from llmitm.errors import RuleError
from llmitm.ruleset.documents import Node, Place, error_at
from llmitm.ruleset.environment import MAX_KEYS, client_keys, expand
from llmitm.ruleset.providers import ProvidersFile
from llmitm.ruleset.redact import RedactFile
from llmitm.ruleset.rows import VARIABLE

REDACT_VARIABLES = ("REDACT_API_KEYS_IN_PROMPTS",)
"""The variables that stand for values of `rules/redact.yaml`."""

_SECRET_VARIABLE = re.compile(r"_(?:KEY|TOKEN|SECRET|PASSWORD)(?:_\d+)?$")
_SECRET_HEADER = re.compile(r"key|token|auth|secret|password", re.IGNORECASE)
_SCHEME = re.compile(r"(?:bearer|basic|token)\s+", re.IGNORECASE)
_WORDS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off", "none"), False),
}


def redact_layer(environ: Mapping[str, str]) -> Node | None:
    """The variable as a layer over `redact.yaml`; None without it."""
    name = REDACT_VARIABLES[0]
    text = environ.get(name, "").strip()
    if not text:
        return None
    leaf = Node(_WORDS.get(text.lower(), text), Place(name))
    return Node({"enabled": leaf}, Place("the environment"))


def known_secrets(
    file: ProvidersFile,
    redact: RedactFile,
    environ: Mapping[str, str],
    placeholders: re.Pattern[str] | None,
) -> tuple[SecretStr, ...]:
    """Every key that the rules name, longest first, each once.

    Of all providers, those that are switched off too: their variables, plain and numbered, the
    keys of the file, what else their rows take from secret variables or put into secret headers;
    the keys of clients; the variables that `redact.yaml` names. Obvious placeholders and what is
    shorter than `known.min_chars` are left out: they are words.
    """
    found = list(_values(file, redact, environ))
    found += [key.get_secret_value() for key in client_keys(environ)]
    least = redact.known.min_chars
    real = {
        text
        for text in map(str.strip, found)
        if len(text) >= least and not (placeholders and placeholders.fullmatch(text))
    }
    return tuple(map(SecretStr, sorted(real, key=lambda text: (-len(text), text))))


def _values(file: ProvidersFile, redact: RedactFile, environ: Mapping[str, str]) -> Iterator[str]:
    names: set[str] = set(redact.known.variables)
    for row in file.providers:
        for name in row.key_variables():
            names |= {name, *(f"{name}_{number}" for number in range(1, MAX_KEYS + 1))}
        for secret in row.keys:
            yield _opened(secret.get_secret_value(), environ)
        texts = [row.api_base or "", *row.bases.values(), *row.headers.values()]
        for paths in row.paths.values():
            texts += [str(path) for path in paths.model_dump().values() if path]
        named = {name for text in texts for name in VARIABLE.findall(text)}
        names |= {name for name in named if _SECRET_VARIABLE.search(name)}
        yield from _in_headers(row.headers, environ)
    for shared in file.protocols:
        yield from _in_headers(shared.headers, environ)
    yield from (environ.get(name, "") for name in sorted(names))


def _in_headers(headers: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[str]:
    for name, text in headers.items():
        if _SECRET_HEADER.search(name):
            yield _SCHEME.sub("", _opened(text, environ), count=1)


def _opened(text: str, environ: Mapping[str, str]) -> str:
    """The text with its variables' values, empty if one of them is not set."""
    try:
        return expand(text, environ, "its value")
    except RuleError:
        return ""


def failed_redact_examples(file: RedactFile, tree: Node) -> Iterator[RuleError]:
    """The examples that do not hold."""
    for path, say in _failures(file):
        yield error_at(tree, path, say)


def _failures(file: RedactFile) -> Iterator[tuple[Path, str]]:
    for index, row in enumerate(file.detect):
        for number, text in enumerate(row.examples.secret):
            if not any(row.spans(text, file.harmless_patterns)):
                yield ("detect", index, "examples", "secret", number), f"{row.name} finds nothing"
        for number, text in enumerate(row.examples.harmless):
            for start, end in row.spans(text, file.harmless_patterns):
                say = f"{row.name} finds {text[start:end]!r}"
                yield ("detect", index, "examples", "harmless", number), say
