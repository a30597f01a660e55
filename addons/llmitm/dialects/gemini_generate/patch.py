"""An edited request as its own bytes with only the touched values changed.

Most edits are the patch table's; what stands in several keys at once here (extras, the answer's
form, the list of tools) is spliced in beside. Never: re-serializes what was not touched.
"""

from __future__ import annotations

from dataclasses import replace

from llmitm.canon.parts import Part
from llmitm.canon.request import Message, Request, Tool
from llmitm.canon.values import Facts, Json, Path
from llmitm.dialects.contract import Encoded
from llmitm.dialects.gemini_generate.compose import Composer
from llmitm.dialects.gemini_generate.generation import (
    FORMAT_KEYS,
    SAMPLING,
    sampling_value,
    write_format,
    write_thinking,
)
from llmitm.dialects.gemini_generate.request import (
    Body,
    composer_for,
    encode_message,
    open_body,
)
from llmitm.dialects.gemini_generate.tools import function, write_tool_choice, write_tools
from llmitm.dialects.gemini_generate.wire import parse, source_of, spelled
from llmitm.dialects.origin import Edit, PatchTable, patch_request, splice

_CONFIGS = ("generationConfig", "toolConfig")


def patch(
    original: bytes, before: Request, after: Request, facts: Facts, target: str
) -> Encoded | None:
    """The original body changed only where `after` differs from `before`.

    The model counts only where the body has one, streaming never: both live in the URL.
    None if a difference has no edit here; the caller then encodes the whole request.
    """
    body = _body(original, before)
    if body is None or before.dialect != after.dialect:
        return None
    composer = composer_for(after, facts, target)
    table = _table(body, composer, facts)
    same = replace(before, stream=after.stream)
    own: list[Edit] = []
    if "model" not in table.scalars:
        same = replace(same, model=after.model)
    if before.extras != after.extras:
        own += _extras_edits(body, before, after)
        same = replace(same, extras=after.extras)
    if before.response_format != after.response_format:
        own += _format_edits(body, after, composer)
        same = replace(same, response_format=after.response_format)
    if _tools_as_a_whole(before.tools, after.tools):
        tools = write_tools(after.tools, composer)
        place = (*body.prefix, "tools")
        own.append(Edit("set", place, tools) if tools else Edit("delete", place))
        same = replace(same, tools=after.tools)
    patched = patch_request(original, same, after, facts, table)
    if patched is None or not own:
        return patched
    text = splice(patched.body.decode(), own)
    return None if text is None else Encoded(text.encode(), tuple(composer.losses))


def _body(original: bytes, before: Request) -> Body | None:
    found = open_body(source_of(before.extras))
    if found is not None:
        return found
    try:
        return open_body(parse(original))
    except ValueError:
        return None


def _path(body: Body, name: str, *keys: str) -> Path:
    """The path of a key of the request and of keys below it, each as the client spells it."""
    path: list[str | int] = [*body.prefix, body.key(name)]
    value = body.get(name)
    for key in keys:
        own = spelled(value, key) if isinstance(value, dict) else key
        value = value.get(own) if isinstance(value, dict) else None
        path.append(own)
    return tuple(path)


def _table(body: Body, composer: Composer, facts: Facts) -> PatchTable:
    scalars: dict[str, Path] = {
        f"sampling.{name}": _path(body, "generationConfig", key) for name, key in SAMPLING.items()
    }
    scalars["reasoning"] = _path(body, "generationConfig", "thinkingConfig")
    scalars["tool_choice"] = _path(body, "toolConfig", "functionCallingConfig")
    scalars["instructions"] = _path(body, "systemInstruction")
    for place, fields in ((body.prefix, body.inner), ((), body.outer)):
        if isinstance(fields.get("model"), str):
            scalars["model"] = (*place, "model")

    def encode_scalar(name: str, after: Request) -> Json:
        if name == "model":
            place = body.inner if "model" in body.inner else body.outer
            prefix = "models/" if str(place.get("model")).startswith("models/") else ""
            return prefix + after.model.removeprefix("models/")
        if name == "reasoning":
            config = after.reasoning
            return None if config is None else write_thinking(config, composer, facts)
        if name == "tool_choice":
            return write_tool_choice(after, composer)
        if name == "instructions":
            parts = composer.parts(after.instructions)
            return {"parts": [*parts]} if parts else None
        return sampling_value(name.removeprefix("sampling."), after.sampling, composer)

    def encode_part(part: Part) -> Json:
        written = composer.part(part)
        return written[0] if len(written) == 1 else None

    def encode_content(message: Message, _: Facts) -> list[Json]:
        return encode_message(message, composer)

    def encode_tool(tool: Tool) -> Json:
        return function(tool, composer)

    return PatchTable(
        scalars=scalars,
        messages=(*body.prefix, "contents"),
        tools=(*body.prefix, "tools"),
        encode_message=encode_content,
        encode_tool=encode_tool,
        encode_part=encode_part,
        encode_scalar=encode_scalar,
        extras=None,
        losses=composer.losses,
    )


def _extras_edits(body: Body, before: Request, after: Request) -> list[Edit]:
    edits: list[Edit] = []
    old, new = before.extras, after.extras
    for key in {**old, **new}:
        if old.get(key) == new.get(key) and (key in old) == (key in new):
            continue
        if key in _CONFIGS:
            edits += _config_edits(body, key, (old.get(key), new.get(key)))
            continue
        inside = key in body.inner or (key in new and key not in body.outer)
        path = (*body.prefix, key) if inside else (key,)
        edits.append(Edit("set", path, new[key]) if key in new else Edit("delete", path))
    return edits


def _config_edits(body: Body, name: str, pair: tuple[Json, Json]) -> list[Edit]:
    """Edits of the keys of a config object that canon has no field for."""
    old = pair[0] if isinstance(pair[0], dict) else {}
    new = pair[1] if isinstance(pair[1], dict) else {}
    edits = [Edit("delete", _path(body, name, key)) for key in old if key not in new]
    edits += [
        Edit("set", _path(body, name, key), value)
        for key, value in new.items()
        if key not in old or old[key] != value
    ]
    return edits


def _format_edits(body: Body, after: Request, composer: Composer) -> list[Edit]:
    wish = after.response_format
    fields = {} if wish is None else write_format(wish, composer)
    edits: list[Edit] = []
    for key in FORMAT_KEYS:
        path = _path(body, "generationConfig", key)
        if key in fields:
            edits.append(Edit("set", path, fields[key]))
        else:
            edits.append(Edit("delete", path))
    return edits


def _tools_as_a_whole(before: tuple[Tool, ...], after: tuple[Tool, ...]) -> bool:
    """Whether the tools must be written anew: they are not one list of functions."""
    if before == after:
        return False
    if not before or any(tool.kind == "server" for tool in (*before, *after)):
        return True
    return len({tool.at[:-1] for tool in before}) > 1
