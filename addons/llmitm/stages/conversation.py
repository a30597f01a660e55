"""What is kept of a conversation: its settings, routes and state, and what must be cut from it.

Values for all stages. Where they are kept is a `Memory`; the one on disk is in the record room.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from llmitm.canon.values import Json

type Policy = Literal["k", "m", "km", "mk"]
type ReasoningMode = Literal["high", "medium", "low", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRoute:
    """A failover route that is asked for like a model. elements: selectors as written, in order.

    policy: `k` the first element with each of its keys; `m` each element with its first key; `km`
    each element with all its keys; `mk` every element's first key, then every second one, ...
    """

    name: str
    policy: Policy
    elements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What commands have set; None = nothing was, the rules and the client decide.

    model: `provider:model?params` or a plain name; backend: a provider's name, which keeps the
    model; thinking_budget: tokens; openai_url: base URL for calls to OpenAI; reasoning_mode: what
    `max` (`high`), `medium`, `low` and `no-think` (`none`) ask for; interactive: False = commands
    are text; ttl in seconds.
    """

    model: str | None = None
    backend: str | None = None
    temperature: float | None = None
    reasoning_effort: str | None = None
    thinking_budget: int | None = None
    reasoning_mode: ReasoningMode | None = None
    gemini_generation_config: Mapping[str, Json] | None = None
    openai_url: str | None = None
    project: str | None = None
    project_dir: str | None = None
    command_prefix: str | None = None
    interactive: bool | None = None
    redact_api_keys: bool | None = None
    loop_detection: bool | None = None
    tool_loop_detection: bool | None = None
    tool_loop_max_repeats: int | None = None
    tool_loop_ttl_s: int | None = None
    tool_loop_mode: Literal["break", "chance_then_break"] | None = None


NO_SETTINGS = Settings()


@dataclass(slots=True, kw_only=True)
class Conversation:
    """One conversation, changed in place by the stages and kept by `Memory.save`.

    key: how it is found again, empty = it has not been looked for; tag: its short visible mark
    (`k3f9q2`), given with the first local answer, empty = none yet;
    one_off: a selector for the next request that goes out alone, empty = none;
    last_command, last_answer: digest of the request whose commands ran last and what was answered,
    so that a client's retry does not run them twice;
    holder: `provider.N` of the instance that holds its signatures or server-side state, empty =
    none does; it and the counters below are not kept over a restart;
    model_turns: answered requests; file_writes: write-like tool calls seen in answers.
    """

    key: str = ""
    tag: str = ""
    settings: Settings = NO_SETTINGS
    routes: dict[str, NamedRoute] = field(default_factory=dict[str, NamedRoute])
    one_off: str = ""
    last_command: str = ""
    last_answer: str = ""
    holder: str = ""
    model_turns: int = 0
    file_writes: int = 0

    def set(self, **changes: object) -> None:
        """Changes settings by name; None unsets."""
        self.settings = replace(self.settings, **changes)  # pyright: ignore[reportArgumentType]

    @property
    def is_plain(self) -> bool:
        """Whether nothing was said that would have to be kept."""
        return (
            self.settings == NO_SETTINGS
            and not self.routes
            and not self.one_off
            and not self.tag
            and not self.last_command
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Something in a client's history that must never reach a provider.

    kind: `command`: a user's text that holds commands, found again with `prefix` and `mode`, the
    ones in force when they ran; `tag`: everything that carries this conversation's visible mark;
    `response`: an id of a local answer, which stands for the real one in `replaces` (empty = none).
    conversation: the key of the conversation it was said in.
    """

    kind: Literal["command", "tag", "response"]
    conversation: str
    prefix: str = ""
    mode: str = ""
    replaces: str = ""


class Memory(Protocol):
    """Where conversations and blocks are kept, over restarts. Bounded; the oldest unused go first.

    Keys are digests that were made with `salt`, which is kept too. Never raises: a disk that fails
    is said once and the memory goes on in RAM.
    """

    salt: bytes

    def knows(self, scope: bytes) -> bool:
        """Whether any block of this scope is kept: a cheap no for those who never used commands."""
        ...

    def prefixes(self, scope: bytes) -> frozenset[str]:
        """The command prefixes of this scope's blocks."""
        ...

    def block(self, scope: bytes, key: bytes) -> Block | None:
        """The block with this key."""
        ...

    def keep(self, scope: bytes, key: bytes, block: Block) -> None:
        """Keeps a block, on disk before it returns."""
        ...

    def conversation(self, key: str) -> Conversation | None:
        """The conversation with this key: always the same object while it is in RAM."""
        ...

    def save(self, conversation: Conversation) -> None:
        """Keeps a conversation: in RAM if it `is_plain`, else on disk before it returns."""
        ...

    def alias(self, other: str, key: str) -> None:
        """Lets `conversation(other)` find the one with `key`; RAM only unless that one is kept."""
        ...

    def close(self) -> None:
        """The end: what is kept stays."""
        ...
