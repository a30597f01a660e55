"""A scenario and an ask, made into the bytes of one response; the same pair is made only once."""

from __future__ import annotations

from llmitm.sim.answers import Answer, Trouble, answer
from llmitm.sim.asks import Ask, Protocol
from llmitm.sim.playing import Rendered, header_lines
from llmitm.sim.scenarios import Scenario
from llmitm.sim.wires import WIRES, Wire, media_type, trouble

_MAX_KEPT = 128
_MAX_KEPT_BYTES = 1_000_000


class Renderer:
    """Answers as bytes, the recently used ones kept. created_s: Unix time the answers tell."""

    def __init__(self, created_s: int) -> None:
        self._created_s = created_s
        self._kept: dict[tuple[Scenario, Ask], Rendered] = {}

    def good(self, scenario: Scenario, ask: Ask) -> Rendered:
        """The scripted answer, its faults of content included (not those of timing and socket)."""
        key = (scenario, ask)
        found = self._kept.get(key)
        if found is None:
            found = self._render(scenario, ask)
            size = len(found.body) + sum(map(len, found.frames)) + len(ask.prompt)
            if size <= _MAX_KEPT_BYTES:
                while len(self._kept) >= _MAX_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = found
        return found

    def _render(self, scenario: Scenario, ask: Ask) -> Rendered:
        wire = WIRES[ask.protocol]
        said = answer(scenario, ask, self._created_s)
        failing = scenario.stream_error_after is not None
        fault = trouble(
            wire, scenario.stream_error_status, code=scenario.code, say=scenario.message
        )
        kind = scenario.content_type or media_type(wire, ask.form)
        pairs = [("content-type", kind), *wire.headers, *wire.limits]
        if ask.form == "sse":
            pairs.append(("cache-control", "no-cache"))
        if scenario.encoding:
            pairs.append(("content-encoding", scenario.encoding))
        headers = header_lines(pairs)
        if ask.form == "whole":
            body = wire.error(fault) if failing else wire.whole(said)
            return Rendered(
                status=200, headers=headers, body=_broken(body) if scenario.malformed else body
            )
        frames = _frames(scenario, wire, said, fault)
        return Rendered(status=200, headers=headers, frames=tuple(frames))


def _frames(scenario: Scenario, wire: Wire, said: Answer, fault: Trouble) -> list[bytes]:
    frames = wire.frames(said)
    if scenario.no_end:
        frames = frames[: -wire.tail(said)] or frames[:1]
    if scenario.stream_error_after is not None:
        sent = min(scenario.stream_error_after, max(0, len(frames) - wire.tail(said)))
        frames = [*frames[:sent], *wire.error_frames(fault, said, sent)]
    if scenario.malformed:
        # Not the third: with Anthropic that is a ping, whose data no client reads.
        place = min(3, len(frames) - 1)
        frames[place] = _broken(frames[place])
    return frames


def _broken(data: bytes) -> bytes:
    """`data` with its last third gone, its line ends kept."""
    text = data.rstrip()
    return text[: len(text) * 2 // 3] + data[len(text) :]


def refused(
    protocol: Protocol,
    status: int,
    *,
    code: str = "",
    say: str = "",
    retry_after_s: float | None = None,
) -> Rendered:
    """An error body in the protocol's own shape, `Retry-After` in whole seconds (OpenAI also in
    milliseconds)."""
    wire = WIRES[protocol]
    told = trouble(wire, status, code=code, say=say, retry_after_s=retry_after_s)
    pairs = [("content-type", wire.json_type), *wire.headers]
    if retry_after_s is not None and protocol != "gemini_generate":
        pairs.append(("retry-after", str(-(-retry_after_s // 1)).removesuffix(".0")))
        if protocol != "anthropic_messages":
            pairs.append(("retry-after-ms", str(round(retry_after_s * 1000))))
    if protocol == "anthropic_messages":
        again = told.status in {408, 409, 429} or told.status >= 500
        pairs.append(("x-should-retry", "true" if again else "false"))
    return Rendered(status=told.status, headers=header_lines(pairs), body=wire.error(told))
