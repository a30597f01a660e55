"""What do environment variables say? They are the last layer over the files, and hold the keys.

The variables come in as a mapping. A key leaves this module only as a SecretStr.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import SecretStr

from llmitm.errors import RuleError
from llmitm.ruleset.documents import Node, Place, Scalar
from llmitm.ruleset.providers import ProviderRow
from llmitm.ruleset.rows import VARIABLE

MAX_KEYS = 20

_NUMBERS = {
    "FAILURE_HANDLING_MAX_FAILOVER_HOPS": ("failover", "max_failover_hops"),
    "FAILURE_HANDLING_TOTAL_TIMEOUT_BUDGET": ("failover", "total_timeout_budget_s"),
    "FAILURE_HANDLING_KEEPALIVE_INTERVAL": ("times", "keepalive_interval_s"),
    "FAILURE_HANDLING_MAX_SILENT_WAIT": ("failover", "max_silent_wait_s"),
    "FAILURE_HANDLING_MIN_RETRY_WAIT": ("failover", "min_retry_wait_s"),
}
ROUTE_VARIABLES = ("STATIC_ROUTE", "MODEL_ALIASES", "DISABLE_FAILURE_HANDLING", *_NUMBERS)
"""The variables that stand for values of `rules/routes.yaml`."""
COMMAND_VARIABLES = ("COMMAND_PREFIX", "STRICT_COMMAND_DETECTION", "DISABLE_INTERACTIVE_COMMANDS")
"""The variables that stand for values of `rules/commands.yaml`."""
CLIENT_KEY_VARIABLES = ("LLM_INTERACTIVE_PROXY_API_KEY", "API_KEYS")
"""Keys of clients (comma separated) by which they may use the stored ones."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys of one provider in order, number 1 first. source: where each came from;
    numbered: they came as `_1`, `_2`, ..."""

    keys: tuple[SecretStr, ...] = ()
    sources: tuple[str, ...] = ()
    numbered: bool = False


def routes_layer(environ: Mapping[str, str]) -> Node | None:
    """The variables that stand for values of `routes.yaml`, as a layer over it; None without.

    Raises RuleError that names the variable when `MODEL_ALIASES` is not JSON.
    """
    root: dict[str, Node] = {}
    if route := environ.get("STATIC_ROUTE", "").strip():
        root["static_route"] = Node(route, Place("STATIC_ROUTE"))
    if text := environ.get("MODEL_ALIASES", "").strip():
        root["aliases"] = _aliases(text)
    for name, (section, key) in _NUMBERS.items():
        if text := environ.get(name, "").strip():
            _put(root, section, key, Node(_number(text), Place(name)))
    if environ.get("DISABLE_FAILURE_HANDLING", "").strip():
        name = "DISABLE_FAILURE_HANDLING"
        _put(root, "failover", "enabled", Node(not _truth(environ[name]), Place(name)))
    return Node(root, Place("the environment")) if root else None


def commands_layer(environ: Mapping[str, str]) -> Node | None:
    """The variables that stand for values of `commands.yaml`, as a layer over it; None without."""
    root: dict[str, Node] = {}
    prefix, strict, disable = COMMAND_VARIABLES
    if text := environ.get(prefix, "").strip():
        root["prefix"] = Node(text, Place(prefix))
    if _truth(environ.get(strict, "")):
        root["mode"] = Node("strict", Place(strict))
    if _truth(environ.get(disable, "")):
        root["enabled"] = Node(False, Place(disable))
    return Node(root, Place("the environment")) if root else None


def _put(root: dict[str, Node], section: str, key: str, node: Node) -> None:
    holder = root.setdefault(section, Node({}, node.place))
    if isinstance(holder.value, dict):
        holder.value[key] = node


def _aliases(text: str) -> Node:
    place = Place("MODEL_ALIASES")
    try:
        rows: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RuleError("MODEL_ALIASES", 0, "", f"not JSON: {error}") from None
    if not isinstance(rows, list):
        say = 'must be a JSON list such as [{"pattern": "^gpt-(.*)", "replacement": "…"}]'
        raise RuleError("MODEL_ALIASES", 0, "", say)
    return _node(cast("object", rows), place)


def _node(value: object, place: Place) -> Node:
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return Node({key: _node(child, place) for key, child in items}, place)
    if isinstance(value, list):
        children = cast("list[object]", value)
        return Node([_node(child, place) for child in children], place)
    scalar: Scalar = value if isinstance(value, (str, int, float, bool)) else None
    return Node(scalar, place)


def _number(text: str) -> Scalar:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _truth(text: str) -> bool:
    return text.strip().lower() in ("1", "true", "yes", "on")


def expand(text: str, variables: Mapping[str, str | SecretStr], purpose: str) -> str:
    """`text` with each `${NAME}` replaced. purpose: what it is for, for the error.

    Raises RuleError that names the variable which is not set; never shows a value.
    """
    if "${" not in text:
        return text

    def value(name: str) -> str:
        found = variables.get(name)
        if found is None or not (secret := _open(found)):
            raise RuleError(name, 0, "", f"is not set; it is needed for {purpose}")
        return secret

    return VARIABLE.sub(lambda match: value(match[1]), text)


def _open(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def keys_of(row: ProviderRow, environ: Mapping[str, str], warnings: list[str]) -> KeySet:
    """The provider's keys: numbered variables, else the plain one, else those of the file.

    `<NAME>_API_KEY_1` … `_20` win over `<NAME>_API_KEY`; a file's `${NAME}` that is not set gives
    no key.
    """
    for name in row.key_variables():
        numbered = [f"{name}_{number}" for number in range(1, MAX_KEYS + 1)]
        found = [variable for variable in numbered if environ.get(variable, "").strip()]
        if found and environ.get(name, "").strip():
            warnings.append(f"{name} is ignored because {found[0]} is set")
        if not found and environ.get(name, "").strip():
            found = [name]
        if found:
            keys = tuple(SecretStr(environ[variable].strip()) for variable in found)
            return KeySet(keys, tuple(found), numbered=found != [name])
    keys, sources = list[SecretStr](), list[str]()
    for secret in row.keys:
        text = secret.get_secret_value()
        named = VARIABLE.findall(text)
        if all(environ.get(name) for name in named) and text.strip():
            keys.append(SecretStr(expand(text, environ, f"{row.name}'s key")))
            sources.append(" ".join(named) or "rules")
    return KeySet(tuple(keys), tuple(sources))


def client_keys(environ: Mapping[str, str]) -> tuple[SecretStr, ...]:
    """The keys by which a client may use those that are kept here."""
    listed = ",".join(environ.get(name, "") for name in CLIENT_KEY_VARIABLES)
    return tuple(SecretStr(key.strip()) for key in listed.split(",") if key.strip())


def use_keys_everywhere(environ: Mapping[str, str]) -> bool:
    """Whether `LLMITM_USE_KEYS` says `always`. Raises RuleError for any other word."""
    word = environ.get("LLMITM_USE_KEYS", "").strip().lower()
    if word not in ("", "auto", "always"):
        raise RuleError("LLMITM_USE_KEYS", 0, "", f"{word!r} is neither auto nor always")
    return word == "always"


def base_url_of(row: ProviderRow, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """(variable, URL) that overrides the provider's base URL; None = none is set."""
    for name in row.base_url_variables():
        if url := environ.get(name, "").strip():
            return name, url
    return None


def timeout_of(row: ProviderRow, environ: Mapping[str, str]) -> float | None:
    """The provider's own limit for the first byte, seconds; None = the general one holds.

    Raises RuleError when `<NAME>_TIMEOUT` is no number above 0.
    """
    name = row.variable("_TIMEOUT")
    text = environ.get(name, "").strip()
    if not text:
        return row.ttfb_timeout_s
    number = _number(text)
    if isinstance(number, str) or not isinstance(number, (int, float)) or not 0 < number <= 86400:
        raise RuleError(name, 0, "", f"{text} is not in > 0 and <= 86400 (seconds)")
    return float(number)
