"""Content parts of messages and tool outputs: their wire objects <-> canon parts.

Decoding never raises and drops no key: what canon has no field for stays in the part's extras, a
part of another kind is Unknown. The type of a text part is kept in extras only where it is not
the one its speaker's texts have. Source: OpenAI API reference, Responses, input and output items.
"""

from __future__ import annotations

import json
import re

from pydantic_core import PydanticSerializationError, from_json, to_json

from llmitm.canon.parts import Media, Part, Refusal, Text, Unknown
from llmitm.canon.values import NO_EXTRAS, Extras, Json, Path
from llmitm.dialects.openai_responses.tables import NAME, TEXT_PARTS
from llmitm.dialects.splicing import print_json

type Wire = dict[str, Json]

_DATA_URL = re.compile(r"data:([^;,]*);base64,(.*)", re.DOTALL)

_MAGIC = (
    ("iVBOR", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
)


def json_bytes(value: Json) -> bytes:
    """`value` as compact JSON; also for text that UTF-8 cannot carry."""
    try:
        return to_json(value, inf_nan_mode="null")
    except (PydanticSerializationError, ValueError):
        return print_json(value).encode()


def parsed(body: bytes) -> Json:
    """The JSON value of a whole body; raises ValueError if it is none.

    The faster parser knows no byte order mark, no lone surrogate and no deep nesting.
    """
    try:
        return from_json(body)
    except ValueError:
        try:
            return json.loads(body)
        except RecursionError as trouble:
            raise ValueError("nested too deeply") from trouble


def take_str(rest: Wire, key: str) -> str | None:
    """The string under `key`, taken out of `rest`; None, and `rest` as it was, without one."""
    value = rest.get(key)
    if isinstance(value, str):
        del rest[key]
        return value
    return None


def string_in(wire: Wire, key: str) -> str:
    """The string under `key`, empty without one."""
    value = wire.get(key)
    return value if isinstance(value, str) else ""


def extras_of(rest: Wire) -> Extras:
    """`rest` as extras."""
    return rest or NO_EXTRAS


def text_type(role: str) -> str:
    """The type that texts of this role have."""
    return "output_text" if role == "assistant" else "input_text"


def unknown(value: Json, at: Path) -> Unknown:
    """`value`, kept as it is."""
    kind = string_in(value, "type") if isinstance(value, dict) else ""
    return Unknown(dialect=NAME, kind=kind, value=value, at=at)


def decode_part(value: Json, role: str, at: Path) -> Part:
    """One element of a `content` or `output` list."""
    if not isinstance(value, dict):
        return unknown(value, at)
    kind = string_in(value, "type")
    if kind == text_type(role) and len(value) == 2 and isinstance(text := value.get("text"), str):
        return Text(text=text, at=(*at, "text"))
    rest: Wire = dict(value)
    part: Part | None = None
    if kind in TEXT_PARTS:
        part = _decode_text(rest, role, at)
    elif kind == "refusal":
        del rest["type"]
        refusal = take_str(rest, "refusal")
        part = None if refusal is None else Refusal(text=refusal, extras=extras_of(rest), at=at)
    elif kind == "input_image":
        part = _decode_image(rest, at)
    elif kind == "input_file":
        part = _decode_file(rest, at)
    elif kind == "input_audio":
        part = _decode_audio(rest, at)
    return unknown(value, at) if part is None else part


def _decode_text(rest: Wire, role: str, at: Path) -> Text | None:
    text = take_str(rest, "text")
    if text is None:
        return None
    if rest["type"] == text_type(role):
        del rest["type"]
    annotations = rest.get("annotations")
    if isinstance(annotations, list) and annotations:
        del rest["annotations"]
    else:
        annotations = []
    logprobs = rest.get("logprobs")
    if isinstance(logprobs, list):
        del rest["logprobs"]
    else:
        logprobs = None
    return Text(
        text=text,
        annotations=tuple(annotations),
        logprobs=logprobs,
        extras=extras_of(rest),
        at=(*at, "text"),
    )


def _decode_image(rest: Wire, at: Path) -> Media | None:
    del rest["type"]
    link, file_id = take_str(rest, "image_url"), None
    mime, data, url = split_url(link)
    if link is None:
        file_id = take_str(rest, "file_id")
        if file_id is None:
            return None
    return Media(
        kind="image",
        mime=mime,
        url=url,
        data=data,
        file_id=file_id,
        detail=take_str(rest, "detail"),
        extras=extras_of(rest),
        at=at,
    )


def _decode_file(rest: Wire, at: Path) -> Media | None:
    del rest["type"]
    given = take_str(rest, "file_data")
    url = file_id = None
    mime, data, odd = split_url(given)
    if odd is not None:
        # Bare base64: told from a data URL by the empty media type.
        mime, data = "", odd
    if given is None:
        url = take_str(rest, "file_url")
        if url is None:
            file_id = take_str(rest, "file_id")
            if file_id is None:
                return None
    return Media(
        kind="document",
        mime=mime,
        url=url,
        data=data,
        file_id=file_id,
        name=take_str(rest, "filename"),
        detail=take_str(rest, "detail"),
        extras=extras_of(rest),
        at=at,
    )


def _decode_audio(rest: Wire, at: Path) -> Media | None:
    holder = rest.get("input_audio")
    if not isinstance(holder, dict) or set(holder) != {"data", "format"}:
        return None
    data, form = holder["data"], holder["format"]
    if not isinstance(data, str) or not isinstance(form, str):
        return None
    del rest["type"], rest["input_audio"]
    return Media(kind="audio", mime=f"audio/{form}", data=data, extras=extras_of(rest), at=at)


def split_url(url: str | None) -> tuple[str, str | None, str | None]:
    """(media type, base64 data, url): exactly one of the last two, neither for None.

    A data URL without a media type stays a url, so that it can be written as it was.
    """
    found = _DATA_URL.fullmatch(url) if url is not None and url.startswith("data:") else None
    if found is None or not found.group(1):
        return "", None, url
    return found.group(1), found.group(2), None


def encode_text(part: Text, role: str, own: bool) -> Wire:
    """The text part. own: its extras, annotations and logprobs are of this protocol."""
    wire: Wire = {"type": text_type(role), "text": part.text}
    if own:
        wire |= part.extras
        if part.annotations:
            wire["annotations"] = list(part.annotations)
        if part.logprobs is not None:
            wire["logprobs"] = part.logprobs
    return wire


def encode_own(part: Part, role: str) -> Wire | Json:
    """The content part that `decode_part` made this from."""
    match part:
        case Text():
            return encode_text(part, role, own=True)
        case Refusal():
            return {"type": "refusal", "refusal": part.text, **part.extras}
        case Unknown():
            return part.value
        case Media():
            return {**(encode_media(part) or {}), **part.extras}
        case _:
            return None


def encode_media(part: Media) -> Wire | None:
    """The part for this medium, without its extras; None if the protocol has no place for it."""
    wire: Wire | None = None
    match part.kind:
        case "image":
            wire = {"type": "input_image"}
            if part.data is not None:
                wire["image_url"] = f"data:{part.mime or _sniffed(part.data)};base64,{part.data}"
            elif part.url is not None:
                wire["image_url"] = part.url
            elif part.file_id is not None:
                wire["file_id"] = part.file_id
            else:
                return None
        case "document":
            wire = {"type": "input_file"}
            if part.data is not None:
                mime = f"data:{part.mime};base64," if part.mime else ""
                wire["file_data"] = f"{mime}{part.data}"
            elif part.url is not None:
                wire["file_url"] = part.url
            elif part.file_id is not None:
                wire["file_id"] = part.file_id
            else:
                return None
            if part.name is not None:
                wire["filename"] = part.name
        case "audio" if part.data is not None:
            form = part.mime.partition("/")[2]
            audio: Wire = {"data": part.data, "format": "mp3" if form == "mpeg" else form}
            return {"type": "input_audio", "input_audio": audio}
        case _:
            return None
    if part.detail is not None:
        wire["detail"] = part.detail
    return wire


def _sniffed(data: str) -> str:
    """The media type that base64 of an image begins like."""
    for magic, mime in _MAGIC:
        if data.startswith(magic):
            return mime
    return "image/png"
