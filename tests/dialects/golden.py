"""What each case of the own corpus becomes in each other protocol, as text to read in a diff."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from dialects.corpus import CORPUS, own_answers, own_requests
from dialects.pairs import PAIRS, REPLY, events_in
from llmitm.canon.fold import fold
from llmitm.canon.values import DEFAULT_FACTS, Loss
from llmitm.dialects.catalog import DIALECTS

GOLDEN = CORPUS / "golden"


def golden_texts() -> Iterator[tuple[Path, str]]:
    """(file below `golden`, its text) of every case and pair."""
    for source, target in PAIRS:
        for case, request in own_requests(source):
            encoded = DIALECTS[target].encode_request(request, DEFAULT_FACTS)
            text = _told(encoded.losses) + "\n=== body\n" + _pretty(encoded.body)
            yield Path("requests") / source / target / f"{case}.txt", text
        for case, stream, body in own_answers(source):
            yield (
                Path("answers") / source / target / f"{case}.txt",
                _answer(source, target, body, stream=stream),
            )


def _answer(source: str, target: str, body: bytes, *, stream: bool) -> str:
    """Losses, whole body and stream; of a whole error only the body it becomes."""
    events = events_in(source, body, stream=stream)
    response, dialect = fold(events), DIALECTS[target]
    encoder = dialect.stream_encoder(REPLY)
    data = b"".join(encoder.feed([event]) for event in events) + encoder.close()
    if response.fault is not None:
        told = [("losses of the stream", _told(encoder.losses))]
        told.append(("error body", _pretty(dialect.encode_error(response.fault))))
    else:
        whole = dialect.encode_response(response, REPLY)
        told = [("losses", _told(whole.losses)), ("whole", _pretty(whole.body))]
        if _told(encoder.losses) != _told(whole.losses):
            told.append(("losses of the stream", _told(encoder.losses)))
    told.append(("stream", data.decode()))
    return "\n".join(f"=== {title}\n{text}" for title, text in told)


def _told(losses: Iterable[Loss]) -> str:
    """One line a loss, in the order they were told, each once."""
    lines = [f"{loss.how} {loss.feature} {loss.path} {loss.say}".rstrip() for loss in losses]
    return "".join(f"{line}\n" for line in dict.fromkeys(lines)) or "nothing\n"


def _pretty(body: bytes) -> str:
    return json.dumps(json.loads(body), ensure_ascii=False, indent=2) + "\n"
