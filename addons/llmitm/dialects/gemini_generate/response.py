"""Whole answers, both ways: bodies of `generateContent`, arrays of chunks, errors, token counts.

Source: Gemini API reference, GenerateContentResponse, Candidate.
"""

from __future__ import annotations

from llmitm.canon.events import Event, Finish, Opaque
from llmitm.canon.parts import Text
from llmitm.canon.response import Choice, Response
from llmitm.canon.values import Extras, Json
from llmitm.dialects.contract import Encoded, Reply
from llmitm.dialects.gemini_generate.chunks import ChunkReader
from llmitm.dialects.gemini_generate.compose import Composer, Fields
from llmitm.dialects.gemini_generate.faults import write_fault
from llmitm.dialects.gemini_generate.logprobs import write_logprobs
from llmitm.dialects.gemini_generate.tables import (
    CODE_ASSIST_NAME,
    FAMILY,
    FINISH,
    FINISH_NUMBERS,
    FINISH_WORDS,
    NAME,
    OUTER_ANSWER_KEYS,
)
from llmitm.dialects.gemini_generate.usage import read_count, write_usage
from llmitm.dialects.gemini_generate.wire import Wire, dump, parse, source_of
from llmitm.dialects.telling import told_anew


def decode_response(body: bytes) -> list[Event]:
    """The events of a whole body: an answer, an array of chunks, an error, a token count.

    Total: a body that is no JSON is one `Opaque` with its text.
    """
    try:
        value = parse(body)
    except ValueError:
        return [Opaque(NAME, "", body.decode("utf-8", "replace"))]
    if isinstance(value, list):
        reader = ChunkReader(whole=len(value) == 1)
        events: list[Event] = []
        for chunk in value:
            events += reader.read(chunk)
        return events + reader.finish()
    counted = read_count(value)
    if counted:
        return counted
    reader = ChunkReader(whole=True)
    return reader.read(value) + reader.finish()


def encode_response(response: Response, reply: Reply, target: str) -> Encoded:
    """A whole body; the error body if the answer is a fault. For `target` Code Assist wrapped.

    Losses have no path: an answer has no body of its own that they could point into.
    """
    composer = Composer(target=target, own=response.dialect in FAMILY)
    if response.fault is not None:
        return Encoded(dump(write_fault(response.fault)))
    usage = response.usage
    if usage is not None and not response.choices and read_count(usage.raw) == [usage]:
        return Encoded(dump(usage.raw))
    inner: Fields = {}
    outer: Fields = {}
    candidates: list[Json] = []
    for choice in response.choices:
        if choice.finish is not None and is_block(choice):
            inner["promptFeedback"] = choice.finish.extras["promptFeedback"]
        else:
            candidates.append(write_candidate(choice, composer))
    if candidates:
        inner["candidates"] = candidates
    if usage is not None:
        inner["usageMetadata"] = write_usage(usage, composer)
    model, answer_id = response.model or reply.model, response.id or reply.id
    if model:
        inner["modelVersion"] = model
    if answer_id:
        inner["responseId"] = answer_id
    for extras in (response.extras, response.end_extras):
        place_extras(extras, composer, inner, outer)
    for opaque in response.opaque:
        place_opaque(opaque, composer, inner, outer)
    body: Json = {"response": inner, **outer} if target == CODE_ASSIST_NAME else {**inner, **outer}
    return Encoded(dump(body), tuple(composer.losses))


def is_block(choice: Choice) -> bool:
    """Whether this choice is only the refusal of the prompt, which has no candidate here."""
    finish = choice.finish
    return (
        finish is not None
        and not choice.parts
        and isinstance(finish.extras, Wire)
        and "promptFeedback" in finish.extras
    )


def place_extras(extras: Extras, composer: Composer, inner: Fields, outer: Fields) -> None:
    """Puts this protocol's keys in their place; those of others are losses."""
    if not composer.own:
        for key in told_anew(extras):
            composer.lose("field", (key,))
        return
    for key, value in extras.items():
        (outer if key in OUTER_ANSWER_KEYS else inner)[key] = value


def place_opaque(opaque: Opaque, composer: Composer, inner: Fields, outer: Fields) -> None:
    """Puts what only this protocol knows back where it was read."""
    value = opaque.value
    if opaque.dialect not in FAMILY or not isinstance(value, dict):
        composer.lose("event.unknown", (), opaque.event)
    elif opaque.event == "wrapper":
        outer.update(value)
    elif opaque.event == "candidate":
        candidates = inner.setdefault("candidates", [])
        if isinstance(candidates, list):
            for candidate in candidates:
                if isinstance(candidate, dict) and candidate.get("index", 0) == value.get("index"):
                    candidate.update(value)
                    return
            candidates.append(value)
    else:
        inner.update(value)


def write_candidate(choice: Choice, composer: Composer) -> Fields:
    """One candidate, in the shape it had where that is known."""
    parts = composer.parts(
        [_told(part) if isinstance(part, Text) else part for part in choice.parts]
    )
    candidate: Fields = {"content": {"parts": [*parts], "role": "model"}}
    if choice.finish is not None:
        candidate["finishReason"] = finish_word(choice.finish, composer)
    candidate["index"] = choice.index
    tokens: list[Json] = []
    for part in choice.parts:
        if isinstance(part, Text) and part.logprobs:
            tokens += part.logprobs if isinstance(part.logprobs, list) else [part.logprobs]
    if tokens:
        result = write_logprobs(tokens)
        if result is None:
            composer.lose("part.logprobs")
        else:
            candidate["logprobsResult"] = result
    cited = write_citations(choice, composer)
    if cited:
        candidate["citationMetadata"] = {"citationSources": cited}
    if choice.finish is not None:
        candidate.update(finish_extras(choice.finish, composer))
        _reshape(candidate, source_of(choice.finish.extras))
    return candidate


def _told(part: Text) -> Text:
    """The text without what the candidate tells in its stead."""
    if not part.annotations and part.logprobs is None:
        return part
    return Text(text=part.text, signature=part.signature, extras=part.extras)


def _reshape(candidate: Fields, source: Json) -> None:
    """Leaves out what the original left out although it goes without saying."""
    if not isinstance(source, dict):
        return
    content, was = candidate["content"], source.get("content")
    if candidate["index"] == 0 and "index" not in source:
        del candidate["index"]
    if not isinstance(content, dict):
        return
    if not content["parts"]:
        if was is None:
            candidate.pop("content")
        elif isinstance(was, dict) and "parts" not in was:
            del content["parts"]
    if isinstance(was, dict):
        if "role" not in was:
            del content["role"]
        for key in was.keys() - {"role", "parts"}:
            content[key] = was[key]


def finish_word(finish: Finish, composer: Composer) -> Json:
    """`finishReason`: the provider's own word or number where it was Gemini's."""
    raw = finish.raw
    if raw is not None:
        word = raw
        number = int(raw) if raw.isdecimal() and len(raw) < 4 else None
        if number is not None and number < len(FINISH_NUMBERS):
            word = FINISH_NUMBERS[number]
        meant = FINISH.get(word)
        ours = composer.own or isinstance(finish.extras, Wire)
        if (
            meant == finish.reason
            or (meant == "stop" and finish.reason == "tool_calls")
            or (meant is None and finish.reason == "unknown" and ours)
        ):
            return raw if number is None else number
    written, same = FINISH_WORDS[finish.reason]
    if not same:
        composer.adapt("finish.reason", (), f"{finish.reason} as {written}")
    if finish.stop_sequence is not None:
        composer.lose("finish.stop_sequence")
    return written


def finish_extras(finish: Finish, composer: Composer) -> Fields:
    """The keys of a candidate that its finish keeps; those of other protocols are losses."""
    return composer.extras(finish.extras, ())


def write_citations(choice: Choice, composer: Composer) -> list[Json]:
    """The web addresses that other protocols' annotations cite, as citation sources."""
    sources: list[Json] = []
    for part in choice.parts:
        for note in part.annotations if isinstance(part, Text) else ():
            source = _citation(note)
            if source is None:
                composer.lose("part.annotations")
            else:
                composer.adapt("part.annotations", (), "as citation sources")
                sources.append(source)
    return sources


def _citation(note: Json) -> Fields | None:
    """The address and the span of text that an annotation tells; None without an address."""
    if not isinstance(note, dict):
        return None
    told = note.get("url_citation")
    fields = told if isinstance(told, dict) else note
    url = fields.get("url")
    if not isinstance(url, str):
        return None
    source: Fields = {"uri": url}
    for key, ours in (("start_index", "startIndex"), ("end_index", "endIndex")):
        if isinstance(fields.get(key), int):
            source[ours] = fields[key]
    return source
