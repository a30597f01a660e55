"""Content parts of a message: their wire objects <-> canon parts.

Decoding never raises and never drops a key: what canon has no field for stays in the part's
extras (a nested object's rest under that object's key). A string inside a content array and a
whole string content are told apart by the part's `at`. Source: OpenAI API reference, Chat; Mistral
(`document_url`, `thinking`), Alibaba and Z.ai (`video_url`).
"""

from __future__ import annotations

import re
from typing import cast

from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, Unknown
from llmitm.canon.values import NO_EXTRAS, Extras, Json, Loss, Path, pointer
from llmitm.dialects.openai_chat.tables import AUDIO_FORMAT, AUDIO_MIME, NAME, OPENAI_DIALECTS
from llmitm.dialects.telling import telling

_DATA_URL = re.compile(r"data:([^;,]*);base64,(.*)", re.DOTALL)

type Wire = dict[str, Json]


def rest_of(wire: Wire, *known: str) -> Extras:
    """The keys of `wire` that are not `known`."""
    rest = {key: value for key, value in wire.items() if key not in known}
    return rest or NO_EXTRAS


def as_object(value: Json) -> Wire | None:
    """`value` if it is a JSON object."""
    return value if isinstance(value, dict) else None


def decode_part(value: Json, at: Path) -> Part:
    """One element of a content array."""
    if isinstance(value, str):
        return Text(text=value, at=at)
    if not isinstance(value, dict):
        return Unknown(dialect=NAME, kind="", value=value, at=at)
    kind = value.get("type")
    part: Part | None = None
    match kind:
        case "text":
            if isinstance(text := value.get("text"), str):
                part = Text(text=text, extras=rest_of(value, "type", "text"), at=(*at, "text"))
        case "refusal":
            if isinstance(text := value.get("refusal"), str):
                rest = rest_of(value, "type", "refusal")
                part = Refusal(text=text, extras=rest, at=(*at, "refusal"))
        case "thinking":
            part = decode_thinking(value, at)
        case "image_url" | "video_url" | "document_url":
            part = _decode_url(kind, value, at)
        case "input_audio":
            part = _decode_audio(value, at)
        case "file":
            part = _decode_file(value, at)
        case _:
            pass
    if part is None:
        name = kind if isinstance(kind, str) else ""
        return Unknown(dialect=NAME, kind=name, value=value, at=at)
    return part


def decode_thinking(wire: Wire, at: Path = ()) -> Reasoning | None:
    """Mistral's `{"type": "thinking", "thinking": [{"type": "text", …}]}`, or None.

    The list stays in extras when it is anything but one plain text.
    """
    listed = wire.get("thinking")
    extras: Wire = {key: value for key, value in wire.items() if key != "thinking"}
    if isinstance(listed, str):
        return Reasoning(text=listed, dialect=NAME, extras=extras | {"thinking": listed}, at=at)
    if not isinstance(listed, list):
        return None
    pieces = [item for item in listed if isinstance(item, dict)]
    text = "".join(_text(item.get("text")) for item in pieces)
    if listed != [{"type": "text", "text": text}]:
        extras["thinking"] = listed
    return Reasoning(text=text, dialect=NAME, extras=extras, at=at)


def encode_thinking(part: Reasoning) -> Wire:
    """The thinking part of this reasoning, in the form it came in while its text is the same."""
    wire: Wire = {"type": "thinking", **part.extras}
    kept = wire.get("thinking")
    if isinstance(kept, str):
        wire["thinking"] = part.text
        return wire
    old = decode_thinking({"thinking": kept}) if isinstance(kept, list) else None
    if old is None or old.text != part.text:
        wire["thinking"] = [{"type": "text", "text": part.text}]
    return wire


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _split_url(url: str) -> tuple[str, str | None, str | None]:
    """(media type, base64 data, url): exactly one of the last two."""
    found = _DATA_URL.fullmatch(url)
    if found is None:
        return "", None, url
    return found.group(1), found.group(2), None


def _join_url(part: Media) -> str | None:
    if part.url is not None:
        return part.url
    if part.data is None:
        return None
    return f"data:{part.mime};base64,{part.data}"


def _decode_url(kind: str, wire: Wire, at: Path) -> Media | None:
    holder = wire.get(kind)
    extras: Wire = dict(rest_of(wire, "type", kind))
    detail: Json = None
    if isinstance(holder, dict):
        url = holder.get("url")
        detail = holder.get("detail")
        inner = rest_of(holder, "url", "detail" if isinstance(detail, str) else "url")
        if inner:
            extras[kind] = dict(inner)
    else:
        # A bare string instead of an object; None says so when the part is written again.
        url = holder
        if kind != "document_url":
            extras[kind] = None
    if kind == "document_url":
        extras["type"] = kind
    if not isinstance(url, str):
        return None
    mime, data, link = _split_url(url)
    return Media(
        kind="video" if kind == "video_url" else "image" if kind == "image_url" else "document",
        mime=mime,
        url=link,
        data=data,
        detail=detail if isinstance(detail, str) else None,
        extras=extras or NO_EXTRAS,
        at=at,
    )


def _decode_audio(wire: Wire, at: Path) -> Media | None:
    holder = as_object(wire.get("input_audio"))
    if holder is None or not isinstance(data := holder.get("data"), str):
        return None
    extras: Wire = dict(rest_of(wire, "type", "input_audio"))
    inner: Wire = dict(rest_of(holder, "data"))
    mime, url = "", None
    if isinstance(name := holder.get("format"), str):
        mime = AUDIO_MIME.get(name, f"audio/{name}")
        if _audio_format(mime) == name:
            del inner["format"]
    if data.startswith(("http://", "https://")):
        url = data
    if inner:
        extras["input_audio"] = inner
    return Media(
        kind="audio",
        mime=mime,
        url=url,
        data=None if url else data,
        extras=extras or NO_EXTRAS,
        at=at,
    )


def _audio_format(mime: str) -> str:
    return AUDIO_FORMAT.get(mime, mime.partition("/")[2].partition(";")[0])


def _decode_file(wire: Wire, at: Path) -> Media | None:
    holder = as_object(wire.get("file"))
    if holder is None:
        return None
    data, file_id, name = (holder.get(key) for key in ("file_data", "file_id", "filename"))
    if not isinstance(data, str) and not isinstance(file_id, str):
        return None
    extras: Wire = dict(rest_of(wire, "type", "file"))
    mime, base64, url = _split_url(data) if isinstance(data, str) else ("", None, None)
    if url is not None and not url.startswith(("http://", "https://")):
        # Bare base64, as some clients send it: kept by an empty media type.
        base64, url = url, None
        extras["file"] = {"file_data": None}
    inner = {
        key: value
        for key, value in holder.items()
        if key not in ("file_data", "file_id", "filename") or not isinstance(value, str)
    }
    if inner:
        extras["file"] = {**inner, **cast("Wire", extras.get("file", {}))}
    return Media(
        kind="document",
        mime=mime,
        url=url,
        data=base64,
        file_id=file_id if isinstance(file_id, str) else None,
        name=name if isinstance(name, str) else None,
        extras=extras or NO_EXTRAS,
        at=at,
    )


def encode_media(part: Media, source: str, losses: list[Loss]) -> Wire | None:
    """The content part for this medium; None, with a loss, if the protocol cannot carry it.

    source: the dialect that its extras and file ids belong to.
    """
    own = source == NAME
    extras: Wire = dict(part.extras) if own else {}
    wire: Wire | None = None
    match part.kind:
        case "image" | "video":
            wire = _encode_url(part, f"{part.kind}_url", extras)
        case "audio":
            wire = _encode_audio(part, own, extras)
        case "document" if own:
            wire = _encode_own_document(part, extras)
        case "document":
            wire = _encode_document(part, source, losses)
    if wire is None:
        losses.append(Loss(f"part.{part.kind}", pointer(part.at), NAME))
        return None
    if part.detail is not None and part.kind != "image":
        losses.append(Loss("part.image.detail", pointer(part.at), NAME))
    if not own:
        losses.extend(Loss("field", pointer((*part.at, key)), NAME) for key in telling(part.extras))
    return {**wire, **{key: value for key, value in extras.items() if key not in wire}}


def _encode_url(part: Media, key: str, extras: Wire) -> Wire | None:
    url = _join_url(part)
    if url is None:
        return None
    inner = extras.pop(key, {})
    if inner is None and part.detail is None:
        return {"type": key, key: url}
    holder: Wire = {"url": url, **(inner if isinstance(inner, dict) else {})}
    if part.detail is not None and part.kind == "image":
        holder["detail"] = part.detail
    return {"type": key, key: holder}


def _encode_audio(part: Media, own: bool, extras: Wire) -> Wire | None:
    data = part.url if own and part.data is None else part.data
    if data is None:
        return None
    inner = extras.pop("input_audio", {})
    holder: Wire = {"data": data}
    if part.mime:
        holder["format"] = _audio_format(part.mime)
    return {
        "type": "input_audio",
        "input_audio": {**holder, **(inner if isinstance(inner, dict) else {})},
    }


def _encode_own_document(part: Media, extras: Wire) -> Wire | None:
    url = _join_url(part)
    if extras.get("type") == "document_url" and url is not None:
        return {"type": "document_url", "document_url": url}
    inner = extras.pop("file", {})
    holder: Wire = dict(inner) if isinstance(inner, dict) else {}
    bare = holder.pop("file_data", "") is None
    if bare and part.data is not None and not part.mime:
        holder["file_data"] = part.data
    elif url is not None:
        holder["file_data"] = url
    if part.file_id is not None:
        holder["file_id"] = part.file_id
    if part.name is not None:
        holder["filename"] = part.name
    if "file_data" not in holder and part.file_id is None:
        return None
    return {"type": "file", "file": holder}


def _encode_document(part: Media, source: str, losses: list[Loss]) -> Wire | None:
    if part.text is not None:
        losses.append(Loss("part.document", pointer(part.at), NAME, "adapted", "as text"))
        return {"type": "text", "text": f"{part.name}\n\n{part.text}" if part.name else part.text}
    if part.data is not None:
        name = part.name or "document.pdf"
        return {"type": "file", "file": {"filename": name, "file_data": _join_url(part)}}
    if part.file_id is not None and source in OPENAI_DIALECTS:
        return {"type": "file", "file": {"file_id": part.file_id}}
    return None
