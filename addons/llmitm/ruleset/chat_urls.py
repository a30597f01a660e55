"""To which places may a URL that was typed into a chat lead, and which of them get a stored key?

By the host as it is written: nothing is looked up. Source: RFC 6761 (localhost, .local),
RFC 8375 (.home.arpa), the IANA special-purpose address registries as `ipaddress` knows them.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from llmitm.ruleset.rows import Row
from llmitm.ruleset.urls import BaseUrl, base_url, check_host, host_regex, split_host

LOOPBACK = "loopback"
_PRIVATE_ENDS = (
    *("local", "localdomain", "internal", "intranet", "private", "corp", "home", "lan"),
    *("home.arpa", "onion"),
)
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
type Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _check_place(text: str) -> str:
    if text == LOOPBACK or _network(text) is not None:
        return text
    return check_host(text)


Place = Annotated[str, AfterValidator(_check_place)]
"""`loopback`, a network (`192.168.0.0/16`), a host or a pattern (`*.example.com`), with a port if
need be."""


class OpenaiUrlRow(Row):
    """What `set(openai_url=…)` may say: https anywhere, http only on this machine."""

    key_hosts: tuple[Place, ...] = Field(
        default=(LOOPBACK,),
        description="Hosts besides the provider's own that are sent the stored key: `loopback`, "
        "a network, a host or a pattern.",
    )
    private_hosts: tuple[Place, ...] = Field(
        default=(), description="Private addresses and local names that may be named, as above."
    )

    def allowed(self, text: str) -> BaseUrl:
        """The URL's parts. Raises ValueError that says why it must not be used."""
        url = base_url(text)
        host, address = url.host, _address(url.host)
        if address is None and _NUMBER.fullmatch(host.rpartition(".")[2]):
            raise ValueError(f"{host} is no address; write four numbers, as in 127.0.0.1")
        if address is None:
            check_host(host)
        if is_loopback(host):
            return url
        if url.scheme != "https":
            raise ValueError(f"http is only for this machine; {host} needs https")
        if is_private(host) and not _listed(url, self.private_hosts):
            raise ValueError(
                f"{host} is a private address; the operator can list it under "
                "openai_url.private_hosts in rules/commands.yaml"
            )
        return url

    def may_have_key(self, text: str) -> bool:
        """Whether calls to this base URL may carry a key that is stored here."""
        return _listed(base_url(text), self.key_hosts)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or number."""
    address = _address(host)
    if address is not None:
        return address.is_loopback
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


def is_private(host: str) -> bool:
    """Whether a host is not on the public internet: a special address, or a local name."""
    address = _address(host)
    if address is not None:
        return not address.is_global or address.is_multicast
    name = host.rstrip(".").lower()
    return "." not in name or name.endswith(tuple("." + end for end in _PRIVATE_ENDS))


def _listed(url: BaseUrl, places: tuple[str, ...]) -> bool:
    address = _address(url.host)
    for place in places:
        network = _network(place)
        if place == LOOPBACK and is_loopback(url.host):
            return True
        if network is not None:
            if address is not None and address in network:
                return True
            continue
        host, port = split_host(place)
        if port in (None, url.port) and host_regex(host).fullmatch(url.host.lower()):
            return True
    return False


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def _address(host: str) -> Address | None:
    """The address that a host is, None = it is a name. One IPv4 inside an IPv6 is that IPv4."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return inner or address
    return address
