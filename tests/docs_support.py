"""What is supported, made from the code: `python tests/docs_support.py` writes SUPPORT.md.

Each feature is written by each protocol, read back, and written in each other protocol: what the
encoders say of it, and whether their bytes changed, is the table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "addons" / "llmitm" / "dialects" / "SUPPORT.md"
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "addons"))

from llmitm.canon.features import FEATURES  # noqa: E402
from llmitm.canon.fold import fold  # noqa: E402
from llmitm.canon.parts import Unknown  # noqa: E402
from llmitm.canon.request import Request  # noqa: E402
from llmitm.canon.turns import merge, split_instructions  # noqa: E402
from llmitm.canon.values import DEFAULT_FACTS, Loss  # noqa: E402
from llmitm.dialects.catalog import DIALECTS  # noqa: E402
from llmitm.dialects.contract import Encoded, Reply  # noqa: E402
from llmitm.ruleset.providers import Kind  # noqa: E402
from support_probes import SOURCES, Probe, answer_probes, request_probes  # noqa: E402

TITLES = {
    "openai_chat": "Chat",
    "openai_responses": "Responses",
    "anthropic_messages": "Anthropic",
    "gemini_generate": "Gemini",
    "ollama_chat": "Ollama",
    "bedrock_converse": "Bedrock",
}

KINDS: dict[str, str] = {
    "generate": "read, shown, edited, routed, translated (all of the tables above)",
    "count_tokens": "to the client's own provider, never routed or translated; only what is "
    "llmitm's own (commands and their answers) is taken out",
    "compact": "likewise",
    "models": "verbatim to the client's own provider, never routed or translated",
    "embeddings": "verbatim to the client's own provider, never routed or translated",
    "websocket": "verbatim; where a rule would have to act, refused with 426 so that the client "
    "falls back to HTTP",
    "other": "verbatim to the client's own provider, never routed or translated",
}

REPLY = Reply(model="m", id="r1", custom_tools=frozenset({"get"}))

NOTHING_TO_WRITE = frozenset(
    {
        # Thinking that is on is shown there in any case.
        ("reasoning.show", "openai_responses"),
        ("reasoning.show", "gemini_generate"),
        # Thinking is off there unless it is asked for.
        ("reasoning.mode", "bedrock_converse"),
    }
)
"""(feature, target): the other side has it so anyway."""

type Verdict = str
"""`carried`, `adapted`, `dropped`, `same` (nothing to write), `unsaid` (gone, and no loss
tells it), or empty: the source cannot say it."""


def as_read(source: str, value: Any) -> Any | None:
    """The probe as a decoder of its own protocol gives it; None = it cannot be written so."""
    dialect = DIALECTS[source]
    if isinstance(value, Request):
        encoded = dialect.encode_request(value, DEFAULT_FACTS)
        read: Any = dialect.decode_request(encoded.body)
    else:
        encoded = dialect.encode_response(value, REPLY)
        read = fold(dialect.decode_response(encoded.body))
    if encoded.losses or _outline(value) != _outline(read):
        return None
    return read


def _outline(value: Any) -> Any:
    """What must have come through: roles, kinds of parts, the way of thinking, the end."""
    if isinstance(value, Request):
        instructions, messages = split_instructions(value)
        turns = [(m.role, *_kinds(m.parts)) for m in merge(messages)]
        way = value.reasoning
        budget = max(way.budget_tokens or 0, 0) if way else 0
        return (bool(instructions), turns, budget, bool(way and way.mode == "adaptive"))
    return [(*_kinds(c.parts), c.finish and c.finish.stop_sequence) for c in value.choices]


def _kinds(parts: Any) -> list[tuple[str, str]]:
    return sorted(
        (type(part).__name__, getattr(part, "kind", ""))
        for part in parts
        if not isinstance(part, Unknown)
    )


def encoded(target: str, value: Any) -> Encoded:
    """The probe in the target's protocol."""
    if isinstance(value, Request):
        return DIALECTS[target].encode_request(value, DEFAULT_FACTS)
    return DIALECTS[target].encode_response(value, REPLY)


def verdict(source: str, target: str, probe: Probe) -> Verdict:
    """What becomes of the probe's feature on its way from one protocol to another."""
    read_before, read_after = as_read(source, probe.before), as_read(source, probe.after)
    if read_before is None or read_after is None or read_before == read_after:
        return ""
    odd = read_after.extras.keys() - read_before.extras.keys() - {"include", "store"}
    if odd and isinstance(probe.after, Request) and probe.feature != "field":
        return ""
    without, having = encoded(target, read_before), encoded(target, read_after)
    fresh = [loss for loss in having.losses if loss not in without.losses]
    changed = without.body != having.body
    about = [loss for loss in fresh if loss.feature == probe.feature]
    if not about and not changed:
        # Said already of the thing that this is a part of.
        about = fresh or [loss for loss in without.losses if loss.feature == probe.feature]
    if not about and not changed:
        return "same" if (probe.feature, target) in NOTHING_TO_WRITE else "unsaid"
    return _said(about)


def _said(losses: list[Loss]) -> Verdict:
    hows = {loss.how for loss in losses}
    if "dropped" in hows:
        return "dropped"
    return "adapted" if "adapted" in hows else "carried"


def rows(source: str, probes: Callable[[str], Any]) -> list[tuple[Probe, dict[str, Verdict]]]:
    """(probe, target -> verdict) for all that the source can say."""
    targets = [name for name in TITLES if name != source]
    found = [
        (probe, {name: verdict(source, name, probe) for name in targets})
        for probe in probes(source)
    ]
    return [(probe, cells) for probe, cells in found if any(cells.values())]


def table(source: str) -> str:
    """Everything that one protocol can say, and what becomes of it in the others."""
    targets = [name for name in TITLES if name != source]
    lines = [
        "| feature | " + " | ".join(f"to {TITLES[name]}" for name in targets) + " |",
        "| --- | " + " | ".join("---" for _ in targets) + " |",
    ]
    for probes in (request_probes, answer_probes):
        for probe, cells in rows(source, probes):
            what = f" ({probe.what})" if probe.what else ""
            told = " | ".join(cells[name] for name in targets)
            lines.append(f"| `{probe.feature}`{what} | {told} |")
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    pairs = "\n\n".join(f"## From {TITLES[name]} (`{name}`)\n\n{table(name)}" for name in SOURCES)
    meanings = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in FEATURES.items())
    kinds = "\n".join(f"| `{kind}` | {KINDS[kind]} |" for kind in get_args(Kind.__value__))
    return f"""\
# Supported and not supported

Made from the code by `python tests/docs_support.py`; do not edit.

Within one protocol everything is supported: what nobody edits passes byte for byte, known or not,
and an edit changes only its own place. The tables are about translation. *carried*: the same
meaning is written; *adapted*: carried in another form, which is said; *dropped*: gone, which is
said (a `Loss` with its place in header, journal and flow list; `losses: refuse` in `routes.yaml`
answers 422 instead of sending); *same*: nothing needs to be written, as the other protocol does so
anyway; *unsaid*: gone without a word, a gap. A row is there where the protocol can say the thing at
all. Requests are written for a model without limits of its own; what a model family refuses
(temperature, thinking) stands in `rules/models.yaml`.

The Code Assist wrapper (`gemini_code_assist`) is Gemini with an envelope, and Bedrock's InvokeModel
(`bedrock_invoke`) is Anthropic with another: the same rows hold. Ollama's `/api/generate`
(`ollama_generate`) is its chat with a single prompt. Try any body of your own with
`llmitm translate --from X --to Y FILE`.

{pairs}

## What the features are

| feature | meaning |
| --- | --- |
{meanings}

## Kinds of calls

| kind | what happens |
| --- | --- |
{kinds}

## Never translated

- What a provider keeps: files (file ids), answers (`previous_response_id`), caches.
- Tools that the provider runs (web search, code interpreter, MCP, computer use), and their items.
- Signatures and encrypted reasoning: they go back to the provider that made them and to no other;
  llmitm remembers them for clients whose protocol cannot carry them.
- Headers that prove who the client is.
- Bodies that are not understood: they pass verbatim to the client's own provider, or are refused
  where a route would send them elsewhere.
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
