"""A request to a model, whatever protocol it came in.

`messages` follows the wire one to one: one `Message` per wire message, content or item, oldest
first. Encoders merge neighbours of one role where their protocol wants that (`turns.merge`).
`instructions` holds only what the protocol carries outside its messages.
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from llmitm.canon.parts import Part
from llmitm.canon.values import NO_EXTRAS, Extras, Json, Path, value

type Role = Literal["system", "developer", "user", "assistant", "tool"]


@value(kw_only=True)
class Message:
    """One wire message. `tool`: the protocol keeps tool results in messages of their own."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None
    extras: Extras = NO_EXTRAS
    at: Path = field(default=(), compare=False)


@value(kw_only=True)
class Tool:
    """A tool on offer.

    kind: `function` (parameters is a JSON schema, None = takes nothing), `custom` (free text,
    `format` its grammar), `server` (run by the provider; `value` is the whole wire entry and
    only `dialect` may carry it; name is its best name).
    """

    kind: Literal["function", "custom", "server"] = "function"
    name: str
    description: str | None = None
    parameters: Json = None
    strict: bool | None = None
    format: Json = None
    dialect: str = ""
    value: Json = None
    extras: Extras = NO_EXTRAS
    at: Path = field(default=(), compare=False)


@value(kw_only=True)
class ToolChoice:
    """Which tool must be called. `named`: exactly `names[0]`; `required` with names: one of them.

    value: the wire form where it is none of these, for its own dialect; None otherwise.
    """

    mode: Literal["auto", "none", "required", "named"]
    names: tuple[str, ...] = ()
    dialect: str = ""
    value: Json = None
    extras: Extras = NO_EXTRAS


@value(kw_only=True)
class Sampling:
    """How to draw tokens. None (or an empty tuple) = the client did not say."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


@value(kw_only=True)
class ReasoningConfig:
    """How much the model should think.

    mode: `on` (budget_tokens may say how much), `off`, `adaptive`, None = not said;
    effort: `none|minimal|low|medium|high|xhigh|max`, None = not said;
    budget_tokens: None = not said, -1 = as the model likes;
    show: whether thoughts or summaries should be returned, the wire's own word for how
    (`auto`, `concise`, `detailed`, `true`), None = not said.
    """

    mode: Literal["on", "off", "adaptive"] | None = None
    effort: str | None = None
    budget_tokens: int | None = None
    show: str | None = None
    extras: Extras = NO_EXTRAS


@value(kw_only=True)
class ResponseFormat:
    """What form the answer's text must have. schema: JSON schema, None unless `json_schema`."""

    kind: Literal["text", "json_object", "json_schema"]
    schema: Json = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    extras: Extras = NO_EXTRAS


@value(kw_only=True)
class Request:
    """One request. dialect: the protocol it was read from, which `extras` everywhere belong to.

    model: as the client wrote it, in the body or in the path;
    verbosity: how long answers are to be, `low|medium|high` or as the wire has it, None = not said;
    stream_usage: the client asked for usage inside the stream (chat only), None = did not say;
    extras: top-level wire keys without a field here.
    """

    dialect: str
    model: str
    messages: tuple[Message, ...]
    instructions: tuple[Part, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    sampling: Sampling = Sampling()
    reasoning: ReasoningConfig | None = None
    response_format: ResponseFormat | None = None
    verbosity: str | None = None
    stream: bool = False
    stream_usage: bool | None = None
    previous_response_id: str | None = None
    extras: Extras = NO_EXTRAS
