"""Decrypts only hosts named in `rules/providers.yaml`; all other TLS passes through untouched."""

from __future__ import annotations

from mitmproxy.tls import ClientHelloData

from llmitm.mitm.rulebook import Rulebook


class Decrypt:
    """Decides at the ClientHello, before any certificate is made."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook

    def tls_clienthello(self, data: ClientHelloData) -> None:
        """Lets the connection through unless its name or address is a provider's."""
        address = data.context.server.address
        host, port = (address[0], address[1]) if address else ("", 443)
        ruleset = self._rulebook.house().ruleset
        sni = data.client_hello.sni or ""
        if not (ruleset.is_llm_host(sni, port) or ruleset.is_llm_host(host, port)):
            data.ignore_connection = True
