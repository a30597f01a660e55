"""`llmitm run --human`: what the proxy and the command get when an operator plays the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from llmitm.mitm.environment import DUMMY_KEY, with_dummy_keys
from llmitm.ruleset.loading import load

_LISTEN = "llm_review_listen"
_RULES = "llm_rules"


class Human:
    """See the module. settings: `option=value` for the proxy, beside the user's; variables: for the
    command's environment.

    given: the user's own settings; the address of the review port among them wins. Raises RuleError
    when the rules are wrong.
    """

    def __init__(self, given: Sequence[str], environ: Mapping[str, str]) -> None:
        named = {name: text for name, _, text in (setting.partition("=") for setting in given)}
        self.settings = ["llm_human=true", "connection_strategy=lazy", "upstream_cert=false"]
        if not named.get(_LISTEN):
            self.settings.append(f"{_LISTEN}=127.0.0.1:0")
        ruleset = load(named.get(_RULES, ""), environ)
        keys = [provider.row.key_variables() for provider in ruleset.providers.values()]
        self.variables = dict.fromkeys(with_dummy_keys(environ, keys), DUMMY_KEY)


PLAYED = "no provider is asked: every request waits for an operator"
HELD = "what is held waits for an operator"


def hint(page: str, what: str = PLAYED) -> str:
    """What the operator has to know. page: address of the review page, perhaps with its token;
    what: waits for them, `PLAYED` or `HELD`."""
    parts = urlsplit(page)
    return (
        f"{what}\n"
        f"  in a terminal: llmitm review --url {parts.scheme}://{parts.netloc}\n"
        f"  in a browser:  {page}"
    )
