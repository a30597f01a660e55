"""What can be set in a conversation: one row a parameter, with what its values mean.

A row's `read` gives the changes of `Settings` that a value asks for, or what is wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

from llmitm.canon.values import Json
from llmitm.errors import RuleError
from llmitm.ruleset.commands import check_prefix
from llmitm.ruleset.selectors import EFFORTS, BadSelector, Composite, Selector, Target, targets
from llmitm.stages.commands.calls import Desk, Wrong, nearest
from llmitm.stages.conversation import Settings

type Change = Mapping[str, object]

_TRUE = ("true", "1", "yes", "on", "enabled")
_FALSE = ("false", "0", "no", "off", "none", "disabled")
_MODES = {
    **{"high": "high", "max": "high", "medium": "medium", "low": "low"},
    **dict.fromkeys(("none", "off", "no-think"), "none"),
}
_LONGEST = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One thing to set. field: of `Settings`; values: what may be written; example: one of them;
    direct: the parameter of the command with the same name, empty = there is no such command;
    missing: the value when that command is given none, None = one is needed."""

    name: str
    field: str
    values: str
    say: str
    example: str
    read: Callable[[Desk, str], Change | Wrong]
    aliases: tuple[str, ...] = ()
    direct: str = ""
    missing: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Its name and the others by which it is known."""
        return (self.name, *self.aliases)


def selector(desk: Desk, text: str, strict: bool = False) -> Selector | Wrong:
    """The selector that a command names. Each provider exists and can be the target of a call."""
    found = desk.ruleset.selector(text, "strict" if strict else "rule")
    if isinstance(found, BadSelector):
        return Wrong(f"{text!r}: {found}")
    for target in targets(found):
        if target.params.ignored:
            return Wrong(f"{text!r}: {target.params.ignored[0]} is not understood")
        if target.provider:
            try:
                desk.ruleset.check_target(target.provider)
            except RuleError as error:
                return Wrong(f"{target.provider}: {error.say}")
    return found


def _model(desk: Desk, text: str) -> Change | Wrong:
    if (locked := desk.locked()) is not None:
        return locked
    found = selector(desk, text)
    if isinstance(found, Wrong):
        return found
    # A model that names its provider takes the place of a backend that was chosen before.
    named = isinstance(found, Composite) or bool(found.provider)
    return {"model": text, "backend": None} if named else {"model": text}


def _backend(desk: Desk, text: str) -> Change | Wrong:
    if (locked := desk.locked()) is not None:
        return locked
    name = text.rstrip(":")
    if name not in desk.ruleset.providers:
        return Wrong(f"unknown backend {text!r}{nearest(name, desk.ruleset.providers)}")
    try:
        desk.ruleset.check_target(name)
    except RuleError as error:
        return Wrong(f"{name}: {error.say}")
    model = desk.settings.model
    found = desk.ruleset.selector(model, "rule") if model else None
    if isinstance(found, Composite):
        return Wrong(f"the model {model} names its own backends; unset(model) first")
    if model and isinstance(found, Target) and found.provider:
        return {"backend": name, "model": model.partition(":")[2]}
    return {"backend": name}


def _in(
    field: str, name: str, least: float, most: float, whole: bool = True
) -> Callable[[Desk, str], Change | Wrong]:
    kind = "a whole number" if whole else "a number"
    wrong = f"{name} is {kind} from {least:g} to {most:g}"

    def read(desk: Desk, text: str) -> Change | Wrong:
        try:
            number = int(text) if whole else float(text)
        except ValueError:
            return Wrong(f"{wrong}, not {text[:40]!r}")
        if "_" in text or not least <= number <= most:
            return Wrong(f"{wrong}, not {text[:40]}")
        return {field: number}

    return read


def _thinking(
    read: Callable[[Desk, str], Change | Wrong], *instead: str
) -> Callable[[Desk, str], Change | Wrong]:
    """As `read`, unless the rules decide it; takes the place of what was set `instead`."""

    def checked(desk: Desk, text: str) -> Change | Wrong:
        if (locked := desk.thinking_locked()) is not None:
            return locked
        found = read(desk, text)
        return found if isinstance(found, Wrong) else {**dict.fromkeys(instead), **found}

    return checked


def _switch(field: str, name: str) -> Callable[[Desk, str], Change | Wrong]:
    def read(desk: Desk, text: str) -> Change | Wrong:
        word = text.lower()
        if word not in (*_TRUE, *_FALSE):
            return Wrong(f"{name} is true or false, not {text!r}")
        return {field: word in _TRUE}

    return read


def _word(field: str, name: str, words: Mapping[str, str]) -> Callable[[Desk, str], Change | Wrong]:
    def read(desk: Desk, text: str) -> Change | Wrong:
        found = words.get(text.lower()) or words.get(text.lower().replace("-", "_"))
        if found is None:
            return Wrong(f"{name}: unknown value {text!r}{nearest(text, set(words.values()))}")
        return {field: found}

    return read


def _project(desk: Desk, text: str) -> Change | Wrong:
    if len(text) > 200 or not text.isprintable():
        return Wrong("a project's name has at most 200 printable characters")
    return {"project": text}


def _project_dir(desk: Desk, text: str) -> Change | Wrong:
    absolute = PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()
    if len(text) > _LONGEST or "\0" in text or not absolute:
        hint = " (`~` and `$NAME` are not replaced)" if text[:1] in "~$" else ""
        return Wrong(f"project-dir needs an absolute path{hint}, not {text[:80]!r}")
    if not desk.is_directory(text):
        return Wrong(f"there is no folder {text!r}")
    return {"project_dir": text}


def _openai_url(desk: Desk, text: str) -> Change | Wrong:
    try:
        return {"openai_url": str(desk.ruleset.commands.openai_url.allowed(text))}
    except ValueError as error:
        return Wrong(f"openai-url: {error}")


def _generation_config(desk: Desk, text: str) -> Change | Wrong:
    try:
        found: Json = json.loads(text[: _LONGEST * 4], parse_constant=_no_constant)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        example = '{"topK": 20}'
        return Wrong(f"gemini-generation-config is a JSON object as {example}, not {text[:80]!r}")
    return {"gemini_generation_config": found}


def _no_constant(word: str) -> Json:
    raise ValueError(f"{word} is not JSON")


def _prefix(desk: Desk, text: str) -> Change | Wrong:
    try:
        return {"command_prefix": check_prefix(text)}
    except ValueError as error:
        return Wrong(f"command-prefix: {error}")


_WORDS_OF_EFFORT = {**dict.fromkeys(EFFORTS), "maximum": "max"}
_EFFORTS = {word: known or word for word, known in _WORDS_OF_EFFORT.items()}
_TOOL_MODES = {"break": "break", "chance_then_break": "chance_then_break"}
_TOOL_MODES["chance"] = "chance_then_break"

PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        name="model", field="model", values="[backend:]model",
        say="The model that every request of this chat asks for; `A|B` and other selectors too.",
        example="openai:gpt-5?temperature=0.5", read=_model, direct="name",
    ),
    Parameter(
        name="backend", field="backend", values="PROVIDER",
        say="The provider that is asked; the model's name stays.",
        example="openrouter", read=_backend, direct="name",
    ),
    Parameter(
        name="temperature", field="temperature", values="0..2", say="Sampling temperature.",
        example="0.3", read=_in("temperature", "temperature", 0, 2, whole=False), direct="value",
    ),
    Parameter(
        name="reasoning-effort", field="reasoning_effort", values="|".join(EFFORTS),
        say="How much the model thinks.", aliases=("reasoning",), example="high",
        read=_thinking(_word("reasoning_effort", "reasoning-effort", _EFFORTS), "reasoning_mode"),
    ),
    Parameter(
        name="thinking-budget", field="thinking_budget", values="128..32768",
        say="Tokens that the model may think.", aliases=("budget",), example="4096",
        read=_thinking(_in("thinking_budget", "thinking-budget", 128, 32768), "reasoning_mode"),
    ),
    Parameter(
        name="reasoning-mode", field="reasoning_mode", values="high|medium|low|none",
        say="What `max`, `medium`, `low` and `no-think` set.", example="high",
        read=_thinking(
            _word("reasoning_mode", "reasoning-mode", _MODES), "reasoning_effort", "thinking_budget"
        ),
    ),
    Parameter(
        name="gemini-generation-config", field="gemini_generation_config", values="a JSON object",
        say="Laid over `generationConfig` of requests to Gemini.",
        aliases=("gemini-config",), example='{"topK": 20}', read=_generation_config,
    ),
    Parameter(
        name="openai-url", field="openai_url", values="https://host[:port][/path]",
        say="Base URL for requests to OpenAI; http only to this machine.",
        example="http://localhost:1234/v1", read=_openai_url, direct="url",
    ),
    Parameter(
        name="project", field="project", values="NAME", say="The project, for the record.",
        aliases=("project-name",), example="my-project", read=_project, direct="name",
    ),
    Parameter(
        name="project-dir", field="project_dir", values="/PATH",
        say="The project's folder, an absolute path; it must exist.",
        aliases=("projectdir",), example="/home/me/app", read=_project_dir,
        direct="path",
    ),
    Parameter(
        name="loop-detection", field="loop_detection", values="true|false",
        say="Whether answers that repeat themselves are stopped.", example="false",
        read=_switch("loop_detection", "loop-detection"), direct="enabled", missing="true",
    ),
    Parameter(
        name="tool-loop-detection", field="tool_loop_detection", values="true|false",
        say="Whether tool calls that repeat themselves are stopped.", example="true",
        read=_switch("tool_loop_detection", "tool-loop-detection"), direct="enabled",
        missing="true",
    ),
    Parameter(
        name="tool-loop-max-repeats", field="tool_loop_max_repeats", values="2..1000",
        say="Equal tool calls in a row before something is done.", example="4",
        read=_in("tool_loop_max_repeats", "tool-loop-max-repeats", 2, 1000), direct="value",
        aliases=("max-repeats",),
    ),
    Parameter(
        name="tool-loop-ttl", field="tool_loop_ttl_s", values="1..86400",
        say="How long a tool call counts, seconds.", example="120",
        aliases=("tool-loop-ttl-seconds",),
        read=_in("tool_loop_ttl_s", "tool-loop-ttl", 1, 86400), direct="value",
    ),
    Parameter(
        name="tool-loop-mode", field="tool_loop_mode", values="break|chance_then_break",
        say="Stop at once, or give the model one chance first.", example="chance_then_break",
        read=_word("tool_loop_mode", "tool-loop-mode", _TOOL_MODES), direct="value",
    ),
    Parameter(
        name="redact-api-keys-in-prompts", field="redact_api_keys", values="true|false",
        say="Whether keys in prompts are made unreadable.", example="true",
        read=_switch("redact_api_keys", "redact-api-keys-in-prompts"),
    ),
    Parameter(
        name="command-prefix", field="command_prefix", values="2 to 10 characters",
        say="What commands begin with in this chat.", example="$/", read=_prefix,
    ),
    Parameter(
        name="interactive-mode", field="interactive", values="true|false",
        say="false = commands are text, except this one alone set to true.", example="true",
        aliases=("interactive",), read=_switch("interactive", "interactive-mode"),
    ),
)  # fmt: skip


def parameter(name: str) -> Parameter | None:
    """The row with this name or alias (lower case, with dashes)."""
    return next((row for row in PARAMETERS if name in row.names), None)


def parameter_names() -> tuple[str, ...]:
    """The names without aliases, in order."""
    return tuple(row.name for row in PARAMETERS)


def in_force(row: Parameter, settings: Settings) -> str:
    """What a parameter is set to, as it would be written; empty = to nothing."""
    held: object = getattr(settings, row.field)
    if held is None:
        return ""
    if isinstance(held, bool):
        return "true" if held else "false"
    if isinstance(held, Mapping):
        return json.dumps(held, ensure_ascii=False)
    return f"{held:g}" if isinstance(held, float) else str(held)
