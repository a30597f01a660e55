"""Single edits of a request, each as an operator makes it in the document and as what it must
become."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from llmitm.canon.parts import Part, Text, ToolCall, ToolResult
from llmitm.canon.request import Message, Request
from llmitm.desk.document_parts import shows_value
from llmitm.desk.request_document import written_request
from llmitm.dialects.splicing import Edit as Splice
from llmitm.dialects.splicing import splice
from llmitm.ruleset.yaml_text import Block, yaml_text


@dataclass(frozen=True)
class Edit:
    """what: a name for it; text: the edited document; after: the request that it says."""

    what: str
    text: str
    after: Request


def edits_of(request: Request, chance: random.Random) -> Iterator[Edit]:
    """One of each sort of edit that this request has a place for."""
    makers: list[Callable[[Request, Any, random.Random], Request | None]] = [
        _model,
        _temperature,
        _no_temperature,
        _message_gone,
        _message_come,
        _message_moved,
        _text,
        _argument,
        _call_come,
        _part_gone,
        _result,
        _tool_gone,
        _instructions,
    ]
    for make in makers:
        written = written_request(request)
        after = make(request, written, chance)
        if after is not None:
            yield Edit(make.__name__.strip("_"), yaml_text(written), after)


def _model(request: Request, written: Any, _: random.Random) -> Request:
    written["model"] = "another:model"
    return replace(request, model="another:model")


def _temperature(request: Request, written: Any, _: random.Random) -> Request:
    written["temperature"] = 0.123
    return replace(request, sampling=replace(request.sampling, temperature=0.123))


def _no_temperature(request: Request, written: Any, _: random.Random) -> Request | None:
    if written.pop("temperature", None) is None:
        return None
    return replace(request, sampling=replace(request.sampling, temperature=None))


def _message_gone(request: Request, written: Any, chance: random.Random) -> Request | None:
    if len(request.messages) < 2:
        return None
    place = chance.randrange(len(request.messages))
    del written["messages"][place]
    return replace(request, messages=request.messages[:place] + request.messages[place + 1 :])


def _message_come(request: Request, written: Any, chance: random.Random) -> Request:
    place = chance.randrange(len(request.messages) + 1)
    written["messages"].insert(place, {"role": "user", "text": "something: new\n- and # odd "})
    new = Message(role="user", parts=(Text(text="something: new\n- and # odd "),))
    messages = (*request.messages[:place], new, *request.messages[place:])
    return replace(request, messages=messages)


def _message_moved(request: Request, written: Any, _: random.Random) -> Request | None:
    if len(request.messages) < 2:
        return None
    written["messages"].insert(0, written["messages"].pop())
    return replace(request, messages=(request.messages[-1], *request.messages[:-1]))


def _places(
    request: Request, wanted: type[Part] | tuple[type[Part], ...], chance: random.Random
) -> tuple[int, int, Any] | None:
    found = [
        (at, place, part)
        for at, message in enumerate(request.messages)
        for place, part in enumerate(message.parts)
        if isinstance(part, wanted)
    ]
    return chance.choice(found) if found else None


def _with_part(request: Request, at: int, place: int, *parts: Part) -> Request:
    message = request.messages[at]
    new = replace(message, parts=(*message.parts[:place], *parts, *message.parts[place + 1 :]))
    return replace(request, messages=(*request.messages[:at], new, *request.messages[at + 1 :]))


def _shown(written: Any, at: int, place: int) -> Any:
    message = written["messages"][at]
    return message["parts"][place] if "parts" in message else message


def _text(request: Request, written: Any, chance: random.Random) -> Request | None:
    found = _places(request, Text, chance)
    if found is None:
        return None
    at, place, part = found
    new = part.text[: len(part.text) // 2] + "…changed\r\n" + part.text[len(part.text) // 2 :]
    _shown(written, at, place)["text"] = Block(new)
    return _with_part(request, at, place, replace(part, text=new, logprobs=None))


def _argument(request: Request, written: Any, chance: random.Random) -> Request | None:
    found = _places(request, ToolCall, chance)
    if found is None:
        return None
    at, place, part = found
    shown = _shown(written, at, place)
    if isinstance(shown["arguments"], dict):
        shown["arguments"] = {**shown["arguments"], "added": [1.50, None]}
        new = splice(part.arguments, [Splice("set", ("added",), [1.50, None])])
        assert new is not None
    else:
        new = shown["arguments"] = "free text"
    return _with_part(request, at, place, replace(part, arguments=new))


def _call_come(request: Request, written: Any, chance: random.Random) -> Request | None:
    spoken = [at for at, message in enumerate(request.messages) if message.role == "assistant"]
    if not spoken:
        return None
    at = chance.choice(spoken)
    message = request.messages[at]
    shown = written["messages"][at]
    parts = shown.setdefault("parts", [])
    if "text" in shown:
        parts.append({"keep": 1, "text": shown.pop("text")})
    parts.append({"tool_call": "look", "id": "new_1", "arguments": {"deep": [1, {"a": None}]}})
    call = ToolCall(id="new_1", name="look", arguments='{"deep":[1,{"a":null}]}')
    return replace(
        request,
        messages=(
            *request.messages[:at],
            replace(message, parts=(*message.parts, call)),
            *request.messages[at + 1 :],
        ),
    )


def _part_gone(request: Request, written: Any, chance: random.Random) -> Request | None:
    rich = [at for at, message in enumerate(request.messages) if len(message.parts) > 1]
    if not rich:
        return None
    at = chance.choice(rich)
    place = chance.randrange(len(request.messages[at].parts))
    del written["messages"][at]["parts"][place]
    return _with_part(request, at, place)


def _result(request: Request, written: Any, chance: random.Random) -> Request | None:
    found = _places(request, ToolResult, chance)
    if found is None:
        return None
    at, place, part = found
    if len(part.parts) != 1 or not isinstance(part.parts[0], Text) or shows_value(part):
        return None
    _shown(written, at, place)["text"] = "another\nresult"
    value = part.value
    if isinstance(value, dict):
        value = dict.fromkeys(value, "another\nresult")
    new = replace(part, parts=(replace(part.parts[0], text="another\nresult"),), value=value)
    return _with_part(request, at, place, new)


def _tool_gone(request: Request, written: Any, chance: random.Random) -> Request | None:
    names = [tool.name for tool in request.tools]
    if not names or len(set(names)) != len(names):
        return None
    place = chance.randrange(len(names))
    del written["tools"][place]
    return replace(request, tools=request.tools[:place] + request.tools[place + 1 :])


def _instructions(request: Request, written: Any, _: random.Random) -> Request | None:
    match request.instructions:
        case (Text() as alone,):
            written["instructions"] = "Be brief."
            return replace(request, instructions=(replace(alone, text="Be brief."),))
        case _:
            return None
