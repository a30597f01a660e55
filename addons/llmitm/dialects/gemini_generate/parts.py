"""Reads Gemini's parts, contents and system instructions.

`read_part` is total: what it does not know comes out as `Unknown`. Never: encodes.
Source: Gemini API reference, Content and Part.
"""

from __future__ import annotations

from typing import Literal

from llmitm.canon.parts import Media, Part, Reasoning, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import Message, Role
from llmitm.canon.values import NO_EXTRAS, Extras, Json, Path, pointer
from llmitm.dialects.gemini_generate.tables import BESIDE, NAME
from llmitm.dialects.gemini_generate.wire import Wire, camel, dump_text, without
from llmitm.errors import ClientWireError

ROLES: dict[str, Role] = {
    "user": "user",
    "model": "assistant",
    "assistant": "assistant",
    "function": "tool",
    "tool": "tool",
    "system": "system",
}
_KINDS: dict[str, Literal["image", "audio", "video"]] = {
    "image": "image",
    "audio": "audio",
    "video": "video",
}
_CONTENT = frozenset({"role", "parts"})
_CALL_KEYS = frozenset({"functionCall", "thought", "thoughtSignature"})
_CALL_BODY_KEYS = frozenset({"name", "args", "id"})
_RESULT_KEYS = frozenset({"functionResponse", "thought"})
_RESULT_BODY_KEYS = frozenset({"name", "id", "response", "parts"})
_MEDIA_KEYS = frozenset({"mimeType", "data", "fileUri", "displayName"})


def read_part(raw: Json, at: Path = (), *, keep: bool = True) -> Part:
    """The part that `raw` says.

    keep: the part remembers `raw` for an encoder of this protocol (requests, whole answers).
    """
    if not isinstance(raw, dict):
        return Unknown(dialect=NAME, kind="", value=raw, at=at)
    part = _alone(raw, at, keep=keep) if len(raw) == 1 else None
    if part is not None:
        return part
    fields = camel(raw)
    kinds = [key for key in fields if key not in BESIDE]
    thought, signature = fields.get("thought"), fields.get("thoughtSignature")
    known = (thought is None or isinstance(thought, bool)) and (
        signature is None or isinstance(signature, str)
    )
    if known and len(kinds) == 1 and (kinds[0] == "text" or not thought):
        match kinds[0]:
            case "text":
                part = _text(fields, raw, at, keep=keep)
            case "inlineData" | "fileData":
                part = _media(kinds[0], fields, raw, at, keep=keep)
            case "functionCall":
                part = _call(fields, raw, at, keep=keep)
            case "functionResponse":
                part = _result(fields, raw, at, keep=keep)
            case _:
                pass
    elif known and not kinds and (thought or signature):
        # A signature, or a hidden thought, that comes with no text at all.
        part = _text({**fields, "text": ""}, raw, at, keep=keep)
    if part is None:
        return Unknown(dialect=NAME, kind=kinds[0] if kinds else "", value=raw, at=at)
    return part


def _alone(raw: dict[str, Json], at: Path, *, keep: bool) -> Part | None:
    """The commonest parts, beside which nothing stands; None = to be looked at more closely."""
    if isinstance(text := raw.get("text"), str):
        extras = Wire(NO_EXTRAS, raw) if keep else NO_EXTRAS
        return Text(text=text, extras=extras, at=(*at, "text") if at else ())
    if "functionCall" in raw:
        return _call(raw, raw, at, keep=keep)
    if "functionResponse" in raw:
        return _result(raw, raw, at, keep=keep)
    return None


def _left(fields: dict[str, Json], known: frozenset[str]) -> dict[str, Json]:
    """The fields that are not among `known`: mostly none, which is quick to see."""
    return {} if fields.keys() <= known else without(fields, known)


def _extras(rest: dict[str, Json], raw: Json, *, keep: bool) -> Extras:
    if keep:
        return Wire(rest, raw)
    return Wire(rest) if rest else NO_EXTRAS


def _signature(fields: dict[str, Json]) -> str | None:
    found = fields.get("thoughtSignature")
    return found if isinstance(found, str) else None


def _text(fields: dict[str, Json], raw: dict[str, Json], at: Path, *, keep: bool) -> Part | None:
    text = fields["text"]
    if not isinstance(text, str):
        return None
    rest = without(fields, ("text", "thought", "thoughtSignature"))
    extras = _extras(rest, raw, keep=keep)
    signature = _signature(fields)
    if fields.get("thought"):
        return Reasoning(
            text=text, summary=True, signature=signature, dialect=NAME, extras=extras, at=at
        )
    place = (*at, "text") if at and "text" in raw else ()
    return Text(text=text, signature=signature, extras=extras, at=place)


def _media(key: str, fields: dict[str, Json], raw: Json, at: Path, *, keep: bool) -> Media | None:
    body = fields[key]
    if not isinstance(body, dict):
        return None
    body = camel(body)
    content = body.get("data" if key == "inlineData" else "fileUri")
    mime, name = body.get("mimeType", ""), body.get("displayName")
    if (
        not isinstance(content, str)
        or not isinstance(mime, str)
        or not (name is None or isinstance(name, str))
        or not body.keys() <= _MEDIA_KEYS
        or ("data" in body) == ("fileUri" in body)
    ):
        return None
    url = data = file_id = None
    if key == "inlineData":
        data = content
    elif private(content):
        file_id = content
    else:
        url = content
    return Media(
        kind=_KINDS.get(mime.partition("/")[0], "document"),
        mime=mime,
        url=url,
        data=data,
        file_id=file_id,
        name=name,
        extras=_extras(without(fields, (key, "thought")), raw, keep=keep),
        at=at,
    )


def private(uri: str) -> bool:
    """Whether only Google can read what this names: an uploaded file, a bucket."""
    return not uri.startswith(("http://", "https://")) or uri.startswith(
        "https://generativelanguage.googleapis.com/"
    )


def _call(fields: dict[str, Json], raw: Json, at: Path, *, keep: bool) -> ToolCall | None:
    body = fields["functionCall"]
    if not isinstance(body, dict):
        return None
    body = camel(body)
    name, args, call_id = body.get("name", ""), body.get("args"), body.get("id", "")
    if (
        not isinstance(name, str)
        or not isinstance(call_id, str)
        or not (args is None or isinstance(args, dict))
    ):
        return None
    rest, inner = _left(fields, _CALL_KEYS), _left(body, _CALL_BODY_KEYS)
    if inner:
        rest["functionCall"] = inner
    return ToolCall(
        id=call_id,
        name=name,
        arguments="" if args is None else dump_text(args),
        signature=_signature(fields),
        extras=_extras(rest, raw, keep=keep),
        at=at,
    )


def _result(fields: dict[str, Json], raw: Json, at: Path, *, keep: bool) -> ToolResult | None:
    body = fields["functionResponse"]
    if not isinstance(body, dict):
        return None
    body = camel(body)
    name, call_id, media = body.get("name"), body.get("id", ""), body.get("parts", [])
    if (
        not (name is None or isinstance(name, str))
        or not isinstance(call_id, str)
        or not isinstance(media, list)
    ):
        return None
    value = body.get("response")
    rest, inner = _left(fields, _RESULT_KEYS), _left(body, _RESULT_BODY_KEYS)
    if inner:
        rest["functionResponse"] = inner
    text = result_text(value)
    told = (Text(text=text),) if text else ()
    return ToolResult(
        call_id=call_id,
        parts=(*told, *[read_part(item) for item in media]) if media else told,
        name=name,
        error=True if isinstance(value, dict) and len(value) == 1 and "error" in value else None,
        value=value,
        extras=_extras(rest, raw, keep=keep),
        at=at,
    )


def result_text(value: Json) -> str:
    """The text form of a function's response.

    An object with the single key `output`, `result` or `error` stands for its value, as the API
    reference (FunctionResponse) has it for the first and the last; any other is compact JSON.
    """
    if isinstance(value, dict):
        if not value:
            return ""
        if len(value) == 1 and (key := next(iter(value))) in ("output", "result", "error"):
            value = value[key]
    if value is None:
        return ""
    return value if isinstance(value, str) else dump_text(value)


def read_parts(raw: Json, at: Path) -> tuple[Part, ...]:
    """The parts of a content: a list, or one object as the API takes it too; absent = none.

    Raises ClientWireError where a part is not an object.
    """
    if raw is None:
        return ()
    if isinstance(raw, dict):
        return (read_part(raw, at),)
    if isinstance(raw, str):
        return (Text(text=raw, at=at),)
    if not isinstance(raw, list):
        raise ClientWireError(pointer(at), "parts must be a list of objects")
    for place, item in enumerate(raw):
        if not isinstance(item, dict):
            raise ClientWireError(pointer((*at, place)), "a part must be an object")
    return tuple([read_part(item, (*at, place)) for place, item in enumerate(raw)])


def read_content(raw: Json, at: Path) -> Message:
    """One message. Role `function` is `tool`; an absent or unknown role is the user's."""
    if isinstance(raw, str):
        return Message(role="user", parts=(Text(text=raw, at=at),), extras=Wire({}, raw), at=at)
    if not isinstance(raw, dict):
        raise ClientWireError(pointer(at), "a content must be an object")
    role = raw.get("role")
    return Message(
        role=ROLES.get(role, "user") if isinstance(role, str) else "user",
        parts=read_parts(raw.get("parts"), (*at, "parts")),
        extras=Wire(_left(raw, _CONTENT), raw),
        at=at,
    )


def read_contents(raw: Json, at: Path) -> tuple[Message, ...]:
    """The messages: a list of contents, or a single one."""
    if isinstance(raw, dict | str):
        return (read_content(raw, at),)
    if not isinstance(raw, list):
        raise ClientWireError(pointer(at), "contents must be a list")
    return tuple([read_content(item, (*at, place)) for place, item in enumerate(raw)])


def read_instructions(raw: Json, at: Path) -> tuple[Part, ...]:
    """The parts of a system instruction: a content, a string, a part or a list of parts."""
    if isinstance(raw, dict) and not ("parts" in raw or "role" in raw or not raw):
        return (read_part(raw, at),)
    if isinstance(raw, dict):
        return read_parts(raw.get("parts"), (*at, "parts"))
    if isinstance(raw, list):
        return tuple(
            Text(text=item, at=(*at, place))
            if isinstance(item, str)
            else read_part(item, (*at, place))
            for place, item in enumerate(raw)
        )
    return read_parts(raw, at)
