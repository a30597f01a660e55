"""The shape of `rules/providers.yaml`: who is an LLM provider, on which hosts, speaking what."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from llmitm.canon.values import Facts, Json
from llmitm.ruleset.rows import EnvName, Name, Regex, Row, Text
from llmitm.ruleset.urls import check_host, check_url, path_regex

type Protocol = Literal[
    "openai_chat",
    "openai_responses",
    "anthropic_messages",
    "gemini_generate",
    "gemini_code_assist",
    "ollama_chat",
    "ollama_generate",
    "bedrock_converse",
    "bedrock_invoke",
]
type Kind = Literal[
    "generate", "count_tokens", "compact", "models", "embeddings", "websocket", "other"
]
type UseKeys = Literal["auto", "always", "never"]
type AuthStyle = Literal["bearer", "x-api-key", "x-goog-api-key", "api-key", "sigv4", "none"]


def _check_path(text: str) -> str:
    path_regex(text)
    return text


def _check_send(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("must begin with /")
    return text


Host = Annotated[str, AfterValidator(check_host)]
Url = Annotated[str, AfterValidator(check_url)]
PathRule = Annotated[str, AfterValidator(_check_path)]
SendPath = Annotated[Text, AfterValidator(_check_send)]
ModelPattern = Annotated[str, StringConstraints(min_length=1, to_lower=True)]


class EndpointRow(Row):
    """One kind of call a host answers."""

    path: PathRule = Field(
        description="Template: `**` any beginning, `*` one segment, `{model}` a segment and "
        "`{model+}` the rest as the model's name; or a regular expression that begins with `^`."
    )
    method: Literal["GET", "POST", "PUT", "DELETE", "PATCH", "*"] = Field(
        default="POST", description="HTTP method, `*` for any."
    )
    protocol: Protocol | None = Field(
        default=None, description="What the body is written in; absent = the section's protocol."
    )
    kind: Kind = Field(
        default="generate",
        description="What the call does; `websocket` is an upgrade that carries generate calls; "
        "of `count_tokens` and `compact` only what is llmitm's own is taken out.",
    )
    stream: Literal["body", "always", "never"] = Field(
        default="body", description="Whether it streams: as the body says, always, or never."
    )


class PathsRow(Row):
    """Where to send calls, relative to the base URL. `{model}` is put in percent-encoded."""

    generate: SendPath | None = Field(default=None, description="One answer, whole.")
    stream: SendPath | None = Field(
        default=None, description="One answer, streamed; absent = as `generate`."
    )
    count_tokens: SendPath | None = Field(default=None, description="Token counting.")
    models: SendPath | None = Field(default=None, description="The list of models.")


class ProtocolRow(Row):
    """What providers of one protocol have in common."""

    name: Protocol = Field(description="The protocol.")
    endpoints: tuple[EndpointRow, ...] = Field(default=(), description="Calls, first match wins.")
    paths: PathsRow = Field(default=PathsRow(), description="Where calls are sent.")
    headers: Mapping[str, Text] = Field(
        default={}, description="Headers sent with each rerouted call."
    )


class AuthRow(Row):
    """How a key is shown to the provider."""

    style: AuthStyle = Field(
        default="bearer",
        description="Which header carries the key; `sigv4`: the client signs each call, so nothing "
        "can be routed to the provider.",
    )
    header: str | None = Field(
        default=None, description="Another header's name; the key stands there as it is."
    )
    by_protocol: Mapping[Protocol, AuthStyle] = Field(
        default={}, description="Protocols of this provider with another style."
    )
    required: bool = Field(
        default=True, description="Whether routing to the provider without a key is an error."
    )


class FactsRow(Row):
    """Peculiarities of a provider's protocol; absent = the protocol's usual."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="Chat: where the output limit stands."
    )
    max_tokens_default: int = Field(
        default=8192, ge=1, description="Output limit where the protocol needs one and none came."
    )
    system_role: Literal["system", "developer"] = Field(
        default="system", description="Chat: the role of instructions."
    )
    reasoning_field: str = Field(
        default="reasoning_content", description="Chat: the field of reasoning text."
    )
    stream_usage: bool = Field(
        default=True, description="Chat: `stream_options.include_usage` is understood."
    )
    extras: Mapping[str, Json] = Field(
        default={}, description="Further facts by name, for one dialect's own use."
    )

    def facts(self) -> Facts:
        """The same as a canon value."""
        return Facts(
            max_tokens_field=self.max_tokens_field,
            max_tokens_default=self.max_tokens_default,
            system_role=self.system_role,
            reasoning_field=self.reasoning_field,
            stream_usage=self.stream_usage,
            extras=self.extras,
        )


class ExampleRow(Row):
    """A call and what it must be recognised as; the tests run every one."""

    call: str = Field(description="Method, space, URL.", pattern=r"^[A-Z]+ https?://\S+$")
    protocol: Protocol = Field(description="The protocol.")
    kind: Kind = Field(default="generate", description="What the call does.")
    model: str = Field(default="", description="The model in the path, empty = it is in the body.")
    stream: bool | None = Field(default=None, description="As the path says; null = it does not.")


class ProviderRow(Row):
    """One provider."""

    name: Name = Field(description="Its name in selectors (`name:model`).")
    enabled: bool = Field(default=True, description="false = as if it were not here.")
    hosts: tuple[Host, ...] = Field(
        default=(),
        description="Hosts to decrypt: a name or a pattern (`*.openai.azure.com`), `:port` if only "
        "that port is meant.",
    )
    path_prefix: str = Field(
        default="",
        pattern=r"^(/[^?#]*[^/?#])?$",
        description="Only calls below this path are this provider's (several on one host).",
    )
    api_base: Url | None = Field(
        default=None,
        description="Where to send calls; absent = only after its base URL variable is set.",
    )
    bases: Mapping[Protocol, Url] = Field(
        default={}, description="Base URLs of protocols that live elsewhere than `api_base`."
    )
    protocol: Protocol = Field(
        default="openai_chat", description="Spoken when an exchange is routed to the provider."
    )
    speaks: tuple[Protocol, ...] = Field(
        default=(), description="All protocols whose usual calls it answers; absent = `protocol`."
    )
    endpoints: tuple[EndpointRow, ...] = Field(
        default=(), description="Calls of its own, tried before the protocols' usual ones."
    )
    paths: Mapping[Protocol, PathsRow] = Field(
        default={}, description="Where calls are sent, where that is not the protocol's usual."
    )
    auth: AuthRow = Field(default=AuthRow(), description="How a key is shown.")
    headers: Mapping[str, Text] = Field(
        default={},
        repr=False,
        description="Headers sent with each rerouted call, besides the protocol's.",
    )
    keys: tuple[SecretStr, ...] = Field(
        default=(), description="Keys, best as `${NAME}`; variables of `key_env` come first."
    )
    key_env: tuple[EnvName, ...] = Field(
        default=(),
        description="Variables that hold a key, the first set one counts, each also with _1 to "
        "_20; absent = `<NAME>_API_KEY`.",
    )
    use_keys: UseKeys = Field(
        default="auto",
        description="Whether a client's own call to the provider gets a key of llmitm's: `auto`: "
        "where the client sent a client key or a placeholder, or keys are numbered; "
        "`LLMITM_USE_KEYS` is the same for all. Rerouted calls always get one.",
    )
    base_url_env: tuple[EnvName, ...] = Field(
        default=(),
        description="Variables that override `api_base`; absent = `<NAME>_API_BASE_URL`.",
    )
    models: tuple[ModelPattern, ...] = Field(
        default=(),
        description="What it offers, for selectors that name no provider: patterns (`*`, `?`) of "
        "model names, case is no matter. What its models list was seen to hold counts as well.",
    )
    priority: int = Field(
        default=0, description="For `model_preference: priority`: the highest is asked first."
    )
    cost: float | None = Field(
        default=None,
        ge=0,
        description="For `model_preference: cost`: the lowest is asked first; null = not known, "
        "last.",
    )
    ttfb_timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=86400,
        description="Its own limit instead of routes.yaml's; `<NAME>_TIMEOUT` beats both.",
    )
    facts: FactsRow = Field(default=FactsRow(), description="Peculiarities.")
    examples: tuple[ExampleRow, ...] = Field(default=(), description="Calls that must match.")

    @model_validator(mode="after")
    def _check_bases(self) -> Self:
        spoken = (self.protocol, *self.speaks)
        for field in ("bases", "paths"):
            for protocol in getattr(self, field):
                if protocol not in spoken:
                    say = f"{field}/{protocol} is set, but `speaks` does not name {protocol}"
                    raise ValueError(say)
        return self

    def variable(self, ending: str) -> str:
        """`OPENAI_RESPONSES` + ending for `openai-responses`."""
        return self.name.upper().replace("-", "_") + ending

    def key_variables(self) -> tuple[str, ...]:
        """The variables that may hold its key, the first set one counts."""
        return self.key_env or (self.variable("_API_KEY"),)

    def base_url_variables(self) -> tuple[str, ...]:
        """The variables that may override its base URL, the first set one counts."""
        return self.base_url_env or (self.variable("_API_BASE_URL"),)

    def all_protocols(self) -> tuple[Protocol, ...]:
        """Every protocol it speaks, its own first."""
        return self._all_protocols

    @cached_property
    def _all_protocols(self) -> tuple[Protocol, ...]:
        return (self.protocol, *(other for other in self.speaks if other != self.protocol))


class ProvidersFile(Row):
    """`rules/providers.yaml`."""

    protocols: tuple[ProtocolRow, ...] = Field(
        default=(), description="What providers of a protocol have in common."
    )
    placeholder_keys: tuple[Regex, ...] = Field(
        default=(),
        description="What clients send as a key when they have none: regular expressions for the "
        "whole of it, case is no matter.",
    )
    providers: tuple[ProviderRow, ...] = Field(
        default=(), description="The providers; on a shared host the first match wins."
    )
