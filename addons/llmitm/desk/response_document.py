"""A model's answer, or one tool call of it, as a YAML document that an operator edits, and back.

Never: raises anything but DocumentError.
"""

from __future__ import annotations

from dataclasses import replace

from llmitm.canon.events import Fault, Finish, FinishReason
from llmitm.canon.parts import Part, ToolCall
from llmitm.canon.response import Choice, Response
from llmitm.desk.document_fields import Fields, Mistakes
from llmitm.desk.document_parts import call_written, content_written
from llmitm.desk.document_reading import read_call_fields, read_content
from llmitm.ruleset.documents import Node
from llmitm.ruleset.yaml_text import Block, Written

FINISHES: tuple[FinishReason, ...] = (
    "stop", "length", "tool_calls", "content_filter", "refusal", "pause", "error", "unknown",
)  # fmt: skip


def written_response(response: Response) -> dict[str, Written]:
    """The document as data; one choice stands at the top, several as a list."""
    shown: dict[str, Written] = {"model": response.model}
    if response.fault is not None:
        fault = response.fault
        shown["fault"] = {"kind": fault.kind, "message": Block(fault.message)}
    match response.choices:
        case ():
            pass
        case (Choice(index=0) as alone,):
            shown |= _choice(alone)
        case several:
            shown["choices"] = [{"choice": one.index, **_choice(one)} for one in several]
    return shown


def _choice(choice: Choice) -> dict[str, Written]:
    finish: dict[str, Written] = {}
    if choice.finish is not None:
        finish["finish"] = choice.finish.reason
    return finish | content_written(choice.parts)


def response_of(root: Node, was: Response, mistakes: Mistakes) -> Response:
    """The answer that an edited document says; `was` itself when nothing changed."""
    fields = Fields(root, "the document", mistakes)
    model = fields.text("model", was.model) or ""
    fault = _fault(fields, was.fault, mistakes)
    choices = _choices(fields, was.choices, mistakes)
    fields.done(("model", "fault", "finish", "text", "parts", "choices"))
    if model == was.model and fault is was.fault and choices is was.choices:
        return was
    return replace(was, model=model, fault=fault, choices=choices)


def _fault(fields: Fields, was: Fault | None, mistakes: Mistakes) -> Fault | None:
    node = fields.take("fault")
    if node is None or node.value is None:
        return None
    if was is None:
        mistakes.add(node, "an error cannot be put in an answer; reject it instead")
        return None
    inner = Fields(node, "`fault`", mistakes)
    kind = inner.take("kind")
    if kind is not None and kind.value != was.kind:
        mistakes.add(kind, f"the kind of the error cannot be changed: it is {was.kind}")
    message = inner.needed("message", was.message)
    inner.done(("kind", "message"))
    # The provider's own object says the old message.
    return was if message == was.message else replace(was, message=message, raw=None)


def _choices(fields: Fields, was: tuple[Choice, ...], mistakes: Mistakes) -> tuple[Choice, ...]:
    names = fields.names()
    if "choices" in names:
        return _several(fields, was, mistakes)
    if not {"text", "parts", "finish"} & set(names):
        return ()
    before = was[0] if was else Choice()
    made = _read_choice(fields, before, mistakes)
    return was if len(was) == 1 and made is before else (made,)


def _several(fields: Fields, was: tuple[Choice, ...], mistakes: Mistakes) -> tuple[Choice, ...]:
    by_index = {choice.index: choice for choice in was}
    made: list[Choice] = []
    for node in fields.items("choices") or []:
        inner = Fields(node, "a choice", mistakes)
        index = inner.whole("choice", None)
        if index is None or index not in by_index:
            told = ", ".join(str(choice.index) for choice in was)
            mistakes.add(
                node, f"`choice` must be the number of one that was there: {told}; each stands once"
            )
            continue
        choice = _read_choice(inner, by_index.pop(index), mistakes)
        inner.done(("choice", "finish", "text", "parts"))
        made.append(choice)
    same = len(made) == len(was) and all(one is other for one, other in zip(made, was, strict=True))
    return was if same else tuple(made)


def _read_choice(fields: Fields, was: Choice, mistakes: Mistakes) -> Choice:
    finish = _finish(fields, was)
    parts: tuple[Part, ...] = ()
    if {"text", "parts"} & set(fields.names()):
        parts = read_content(fields, was.parts, mistakes)
    if finish is was.finish and parts is was.parts:
        return was
    return replace(was, finish=finish, parts=parts)


def _finish(fields: Fields, was: Choice) -> Finish | None:
    if "finish" not in fields.names():
        return None
    before: FinishReason = was.finish.reason if was.finish is not None else "unknown"
    reason: FinishReason = fields.word("finish", before, FINISHES)
    if was.finish is not None and reason == before:
        return was.finish
    return Finish(reason, choice=was.index)


def written_call(call: ToolCall) -> dict[str, Written]:
    """The document of one tool call as data."""
    return call_written(call)


def call_of(root: Node, was: ToolCall, mistakes: Mistakes) -> ToolCall:
    """The call that an edited document says; `was` itself when nothing changed."""
    fields = Fields(root, "the document", mistakes)
    made = read_call_fields(fields, was)
    fields.done(("tool_call", "id", "kind", "arguments"))
    return made
