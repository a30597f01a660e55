"""Whose call is this? Host, then path: a table of hosts, each with its compiled path rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from llmitm.ruleset.providers import EndpointRow, Kind, Protocol, ProviderRow
from llmitm.ruleset.urls import BaseUrl, host_regex, path_regex, split_host

_LONGEST_PATH = 8192
_MOST_CALLS = 1024
_LONGEST_CALL = 512
"""What so many calls are, none with a longer path, is remembered."""
_ENCODED_COLON = re.compile("%3a", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What a call is. model: as the path says, decoded, empty = the body has it;
    stream: as the path says, None = the body says."""

    provider: str
    protocol: Protocol
    kind: Kind
    model: str = ""
    stream: bool | None = None


@dataclass(frozen=True, slots=True)
class PathRule:
    """One compiled path of one provider. method: `*` = any."""

    method: str
    pattern: re.Pattern[str]
    protocol: Protocol
    kind: Kind
    stream: bool | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A provider's claim to calls of a host, below `prefix`."""

    provider: str
    prefix: str
    rules: tuple[PathRule, ...]

    def covers(self, path: str) -> bool:
        """Whether the path lies below the prefix."""
        prefix = self.prefix
        return not prefix or path == prefix or path.startswith(prefix + "/")


class HostTable:
    """Claims by host. Built once, then only read."""

    def __init__(
        self,
        exact: Mapping[tuple[str, int | None], tuple[Claim, ...]],
        patterns: tuple[tuple[re.Pattern[str], int | None, tuple[Claim, ...]], ...],
    ) -> None:
        self._exact = exact
        self._patterns = patterns
        self._known = lru_cache(_MOST_CALLS)(self._match)

    def claims(self, host: str, port: int) -> tuple[Claim, ...]:
        """The claims to a host, the strongest first; empty = nobody's."""
        host = host.lower().rstrip(".")
        found = self._exact.get((host, port)) or self._exact.get((host, None))
        if found:
            return found
        for pattern, only_port, claims in self._patterns:
            if only_port in (None, port) and pattern.fullmatch(host):
                return claims
        return ()

    def match(self, host: str, port: int, method: str, path: str) -> Endpoint | None:
        """What the call is; None = not a known call. path: with or without its query."""
        # Without the query, which may hold a key.
        path = path.partition("?")[0]
        if len(path) > _LONGEST_PATH:
            return None
        match = self._known if len(host) + len(path) <= _LONGEST_CALL else self._match
        return match(host, port, method, path)

    def _match(self, host: str, port: int, method: str, path: str) -> Endpoint | None:
        claims = self.claims(host, port)
        if not claims:
            return None
        if "%" in path:
            path = _ENCODED_COLON.sub(":", path)
        for claim in claims:
            if not claim.covers(path):
                continue
            for rule in claim.rules:
                if rule.method in (method, "*") and (found := rule.pattern.fullmatch(path)):
                    groups = found.groupdict()
                    return Endpoint(
                        provider=claim.provider,
                        protocol=rule.protocol,
                        kind=rule.kind,
                        model=unquote(groups.get("model") or ""),
                        stream=rule.stream,
                    )
        return None

    def owner(self, host: str, port: int, path: str) -> str | None:
        """The provider that the host's path belongs to, known call or not; None = nobody's."""
        path = path.partition("?")[0]
        claims = self.claims(host, port)
        return next((claim.provider for claim in claims if claim.covers(path)), None)


def path_rules(
    row: ProviderRow, usual: Mapping[Protocol, tuple[EndpointRow, ...]]
) -> tuple[PathRule, ...]:
    """The provider's own endpoints, then the usual ones of each protocol it speaks."""
    found = [_rule(endpoint, row.protocol) for endpoint in row.endpoints]
    for protocol in row.all_protocols():
        found.extend(_rule(endpoint, protocol) for endpoint in usual.get(protocol, ()))
    return tuple(found)


def _rule(endpoint: EndpointRow, protocol: Protocol) -> PathRule:
    streams = {"always": True, "never": False, "body": None}
    stream = streams[endpoint.stream] if endpoint.kind == "generate" else None
    return PathRule(
        endpoint.method,
        path_regex(endpoint.path),
        endpoint.protocol or protocol,
        endpoint.kind,
        stream,
    )


def host_table(
    rows: Iterable[tuple[ProviderRow, tuple[str, ...], BaseUrl | None, tuple[PathRule, ...]]],
) -> HostTable:
    """The table for (provider, its hosts with variables expanded, overriding base URL, rules).

    On a shared host a longer `path_prefix` is tried first, then file order. Whoever lives on a
    host comes before those whose base URL was merely pointed at it; among these the one whose
    base path begins the call's path is first.
    """
    ranked: dict[tuple[str, int | None], list[tuple[tuple[int, int], Claim]]] = {}
    for row, hosts, override, rules in rows:
        for host in hosts:
            claim = Claim(row.name, row.path_prefix, rules)
            ranked.setdefault(split_host(host), []).append(((0, -len(claim.prefix)), claim))
        if override is not None:
            place = ranked.setdefault((override.host, override.port), [])
            place.append(((1, -len(override.path)), Claim(row.name, override.path, rules)))
            place.append(((2, 0), Claim(row.name, "", rules)))
    _share_any_port(ranked)
    sorted_claims = {
        host: tuple(claim for _, claim in sorted(claims, key=lambda item: item[0]))
        for host, claims in ranked.items()
    }
    return HostTable(
        {host: claims for host, claims in sorted_claims.items() if "*" not in host[0]},
        tuple(
            (host_regex(host[0]), host[1], claims)
            for host, claims in sorted_claims.items()
            if "*" in host[0]
        ),
    )


def _share_any_port(
    ranked: dict[tuple[str, int | None], list[tuple[tuple[int, int], Claim]]],
) -> None:
    """A claim without a port also counts beside claims to one port of that host."""
    for (host, port), claims in ranked.items():
        if port is not None:
            claims.extend(ranked.get((host, None), ()))
