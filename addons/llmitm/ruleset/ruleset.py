"""The compiled rules: what every other room asks. Frozen; shows no secret.

Built by `loading.load`. Nothing here reads a file, a clock or the environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pydantic import SecretStr

from llmitm.canon.values import Facts
from llmitm.errors import RuleError
from llmitm.ruleset.budgets import BudgetsFile
from llmitm.ruleset.clients import ClientsFile
from llmitm.ruleset.commands import CommandsFile
from llmitm.ruleset.documents import Node
from llmitm.ruleset.environment import KeySet, expand
from llmitm.ruleset.literals import literal_name
from llmitm.ruleset.loops import LoopsFile
from llmitm.ruleset.matching import Endpoint, HostTable
from llmitm.ruleset.models import ModelsFile
from llmitm.ruleset.pipeline import PipelineFile
from llmitm.ruleset.providers import Kind, PathsRow, Protocol, ProviderRow, UseKeys
from llmitm.ruleset.redact import RedactFile
from llmitm.ruleset.review import ReviewFile
from llmitm.ruleset.rewrites import RewritesFile
from llmitm.ruleset.routes import RoutesFile
from llmitm.ruleset.rows import VARIABLE
from llmitm.ruleset.selectors import (
    BadSelector,
    Composite,
    Form,
    Selector,
    Target,
    parse_selector,
)
from llmitm.ruleset.text_rules import TextRules
from llmitm.ruleset.tools import ToolsFile
from llmitm.ruleset.urls import BaseUrl, base_url, fill_model

_UNKNOWN_COST = 1_000_000.0


@dataclass(frozen=True, slots=True)
class Alias:
    """A rewrite of model names; the replacement's groups were checked."""

    pattern: re.Pattern[str]
    replacement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider, with the environment applied.

    override: the base URL that a variable set instead of the file's, None = none did;
    override_from: that variable; paths: send paths by protocol, the protocol's usual included;
    headers: by protocol, unexpanded.
    """

    row: ProviderRow
    facts: Facts
    key_set: KeySet
    override: BaseUrl | None
    override_from: str
    ttfb_timeout_s: float | None
    paths: Mapping[Protocol, PathsRow]
    headers: Mapping[Protocol, Mapping[str, str]] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Ruleset:
    """All rules. providers: by name, in file order, enabled ones only; warnings: one line each;
    trees: the merged documents with the place of every value, by file name."""

    providers: Mapping[str, Provider]
    hosts: HostTable
    pipeline: PipelineFile
    routes: RoutesFile
    models: ModelsFile
    clients: ClientsFile
    commands: CommandsFile
    aliases: tuple[Alias, ...]
    static_route: Target | None
    named_routes: Mapping[str, Composite]
    rewrites: RewritesFile
    redact: RedactFile
    known_secrets: tuple[SecretStr, ...]
    loops: LoopsFile
    texts: TextRules
    budgets: BudgetsFile
    tools: ToolsFile
    review: ReviewFile
    variables: Mapping[str, SecretStr]
    client_keys: tuple[SecretStr, ...]
    use_keys_everywhere: bool
    placeholders: re.Pattern[str] | None
    warnings: tuple[str, ...]
    trees: Mapping[str, Node]

    def __repr__(self) -> str:
        stages = len(self.pipeline.stages)
        return f"Ruleset({len(self.providers)} providers, {stages} stages)"

    @property
    def literal_aliases(self) -> tuple[str, ...]:
        """The names that aliases spell out, each once; those of patterns are not among them."""
        names = (literal_name(alias.pattern.pattern) for alias in self.aliases)
        return tuple(dict.fromkeys(name for name in names if name))

    def match(self, host: str, port: int, method: str, path: str) -> Endpoint | None:
        """What a call is; None = not a call we know. path: with or without its query.

        A WebSocket upgrade is a GET whose kind is `websocket`.
        """
        return self.hosts.match(host, port, method, path)

    def is_llm_host(self, host: str, port: int) -> bool:
        """Whether traffic to the host is to be decrypted."""
        return bool(self.hosts.claims(host, port))

    def owner(self, host: str, port: int, path: str) -> str | None:
        """The provider a path on a host belongs to, also when the call is unknown; None = none."""
        return self.hosts.owner(host, port, path)

    def api_base(self, provider: str, protocol: Protocol | None = None) -> str:
        """The base URL for a protocol (default: its own), without a final slash.

        Raises RuleError that names the variable when the provider has none or one is not set.
        """
        return str(self.base(provider, protocol))

    def base(self, provider: str, protocol: Protocol | None = None) -> BaseUrl:
        """As `api_base`, in parts."""
        held = self._provider(provider)
        spoken = protocol or held.row.protocol
        other = held.row.bases.get(spoken)
        if other is not None:
            base = self._base(other, provider)
            if held.override is None:
                return base
            # the protocol lives elsewhere on the same provider: its path on the overriding origin
            return replace(held.override, path=base.path)
        if held.override is not None:
            return held.override
        if held.row.api_base is None:
            name = held.row.base_url_variables()[0]
            raise RuleError(name, 0, "", f"is not set; it is needed to send calls to {provider}")
        return self._base(held.row.api_base, provider)

    def _base(self, url: str, provider: str) -> BaseUrl:
        text = expand(url, self.variables, f"{provider}'s base URL")
        try:
            return base_url(text)
        except ValueError as error:  # only what a variable brought; the file's text was checked
            raise RuleError("rules/providers.yaml", 0, f"/{provider}", f"{url}: {error}") from None

    def redirect(self, provider: str, path: str) -> str | None:
        """The URL a client's own call goes to when the base URL is overridden; None = it is not.

        path: as the client sent it, query included; the file's base path gives way to the
        variable's, a path outside it keeps its form.
        """
        held = self._provider(provider)
        if held.override is None:
            return None
        bare, question, query = path.partition("?")
        target = held.override
        usual = self._usual_path(held)
        if usual and (bare == usual or bare.startswith(usual + "/")):
            full = target.path + bare[len(usual) :]
        elif usual:
            full = bare
        else:
            full = target.join(bare)
        return f"{target.origin}{full or '/'}{question}{query}"

    def _usual_path(self, held: Provider) -> str:
        """The path of the file's base URL; a variable that is not set stands for itself."""
        text = held.row.api_base
        if text is None:
            return ""
        if "${" in text:
            text = VARIABLE.sub(
                lambda found: (
                    self.variables[found[1]].get_secret_value()
                    if found[1] in self.variables
                    else found[1]
                ),
                text,
            )
        try:
            return base_url(text).path
        except ValueError:
            return ""

    def send_path(
        self,
        provider: str,
        protocol: Protocol,
        model: str,
        stream: bool,
        kind: Kind = "generate",
    ) -> str:
        """The path and query of a call relative to `api_base(provider, protocol)`.

        kind: `generate`, `count_tokens` or `models`. Raises RuleError when the provider does not
        offer it, or a variable in it is not set.
        """
        held = self._provider(provider)
        paths = held.paths.get(protocol)
        template: str | None = None
        if paths is not None and kind == "generate":
            template = (paths.stream if stream else None) or paths.generate
        elif paths is not None and kind in ("count_tokens", "models"):
            template = paths.count_tokens if kind == "count_tokens" else paths.models
        if template is None:
            say = f"{provider} has no path for {kind} calls in {protocol}"
            raise RuleError("rules/providers.yaml", 0, "", say)
        path = expand(template, self.variables, f"calls to {provider}")
        return fill_model(path, model)

    def url(
        self,
        provider: str,
        protocol: Protocol,
        model: str,
        stream: bool,
        kind: Kind = "generate",
        base_url_text: str = "",
    ) -> str:
        """The whole URL of a call: `api_base` and `send_path` joined.

        base_url_text: sent there instead, empty = not; it was checked when it was set.
        """
        base = base_url(base_url_text) if base_url_text else self.base(provider, protocol)
        path = self.send_path(provider, protocol, model, stream, kind)
        return f"{base.origin}{base.join(path)}"

    def headers(self, provider: str, protocol: Protocol, key: SecretStr | None) -> dict[str, str]:
        """The headers to set on a rerouted call: the provider's own and its credential.

        The values hold the key: never log them. Raises RuleError for a variable that is not set.
        """
        held = self._provider(provider)
        found = {
            name: expand(text, self.variables, f"calls to {provider}")
            for name, text in held.headers.get(protocol, {}).items()
        }
        return found if key is None else found | self.credential(provider, protocol, key)

    def credential(self, provider: str, protocol: Protocol, key: SecretStr) -> dict[str, str]:
        """The header that shows the key to the provider; empty where calls are signed or free.

        The value is the key: never log it.
        """
        auth = self._provider(provider).row.auth
        style = auth.by_protocol.get(protocol, auth.style)
        if style in ("none", "sigv4"):
            return {}
        value = key.get_secret_value()
        if auth.header is not None and protocol not in auth.by_protocol:
            return {auth.header: value}
        return {"authorization": f"Bearer {value}"} if style == "bearer" else {style: value}

    def keys(self, provider: str) -> tuple[SecretStr, ...]:
        """Its keys, number 1 first; empty = none is set."""
        return self._provider(provider).key_set.keys

    def use_keys(self, provider: str) -> UseKeys:
        """Whether its own clients' calls get a stored key. Numbered keys are there to be used."""
        held = self._provider(provider)
        if held.row.use_keys == "auto" and (self.use_keys_everywhere or held.key_set.numbered):
            return "always"
        return held.row.use_keys

    def is_home(self, provider: str, host: str) -> bool:
        """Whether a host is the provider's own, not only one of a pattern that anyone's tenant
        fits (`*.openai.azure.com`)."""
        if host in self._provider(provider).row.hosts:
            return True
        try:
            return self.base(provider).host == host
        except RuleError:
            return False

    def key_may_go_to(self, provider: str, url: str) -> bool:
        """Whether its stored key may be shown at a place that was set by chat."""
        place = base_url(url)
        own = {self._provider(provider).row.api_base, *self._provider(provider).row.bases.values()}
        at_home = {base_url(text).host for text in own if text and not VARIABLE.search(text)}
        home = place.scheme == "https" and place.host in at_home
        return home or self.commands.openai_url.may_have_key(url)

    def cost(self, provider: str) -> float:
        """What it costs compared with others; very much when that is not known."""
        cost = self._provider(provider).row.cost
        return _UNKNOWN_COST if cost is None else cost

    def priority(self, provider: str) -> int:
        """How much it is preferred to others."""
        return self._provider(provider).row.priority

    def is_placeholder(self, credential: str) -> bool:
        """Whether a client's key is obviously none (`dummy-key`)."""
        found = self.placeholders
        return not credential or (found is not None and bool(found.fullmatch(credential)))

    def key_variable(self, provider: str) -> str:
        """The variable to name when a key is missing: one it shares with another provider, if any.

        Equal names for two providers mean one account (`openai` and `openai-responses`).
        """
        own = self._provider(provider).row.key_variables()
        others = {
            name
            for other in self.providers.values()
            if other.row.name != provider
            for name in other.row.key_variables()
        }
        return next((name for name in own if name in others), own[0])

    def needs_key(self, provider: str, protocol: Protocol | None = None) -> bool:
        """Whether a call cannot be routed to it without a key."""
        row = self._provider(provider).row
        style = row.auth.by_protocol.get(protocol or row.protocol, row.auth.style)
        return row.auth.required and style != "none"

    def ttfb_timeout_s(self, provider: str, stream: bool = True) -> float:
        """How long to wait for the first byte of an answer, seconds."""
        own = self._provider(provider).ttfb_timeout_s
        times = self.routes.times
        if own is not None:
            return own
        return times.ttfb_timeout_s if stream else times.answer_timeout_s

    def check_target(self, provider: str) -> None:
        """Raises RuleError that says why, if no call can be routed to the provider."""
        if self._provider(provider).row.auth.style == "sigv4":
            say = "only a client can sign its calls (SigV4), so it is never the target of a route"
            raise RuleError("rules/providers.yaml", 0, f"/{provider}/auth/style", say)

    def protocol(self, provider: str, wanted: Protocol | None = None) -> Protocol:
        """The protocol to send in: `wanted` where the provider speaks it, else its own.

        Staying in the client's protocol keeps an exchange free of translation.
        """
        row = self._provider(provider).row
        return wanted if wanted in row.all_protocols() else row.protocol

    def facts(self, provider: str, model: str = "") -> Facts:
        """The provider's peculiarities, those of the model's family laid over them."""
        facts = self._provider(provider).facts
        return self.models.facts(model, facts) if model else facts

    def selector(self, text: str, form: Form = "rule") -> Selector | BadSelector:
        """The selector in `text`, read against the providers here."""
        return parse_selector(text, self.providers, form)

    def alias(self, model: str) -> str | None:
        r"""What the first matching alias makes of a model name; None = no alias matches.

        The pattern is tried from the name's beginning; what it matched is replaced, groups may be
        referred to (`\1`), and what it did not match stays.
        """
        for alias in self.aliases:
            found = alias.pattern.match(model)
            if found is not None:
                return found.expand(alias.replacement) + model[found.end() :]
        return None

    def _provider(self, name: str) -> Provider:
        held = self.providers.get(name)
        if held is None:
            raise RuleError("rules/providers.yaml", 0, "", f"there is no provider {name!r}")
        return held
