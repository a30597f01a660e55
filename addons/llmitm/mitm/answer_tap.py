"""The exchange's answer as the stream layer's tap: verdicts and steps, nothing else.

Source of both sides: `stream_contract.Tap` and `exchange.exchange`.
"""

from __future__ import annotations

from collections.abc import Callable

from mitmproxy import http

from llmitm.exchange import tap as taps
from llmitm.exchange.answering import Answering
from llmitm.exchange.exchange import Exchange
from llmitm.exchange.failure import Failure
from llmitm.exchange.lanes import Outgoing
from llmitm.exchange.verdicts import Buffer, Held, Pass
from llmitm.exchange.wire import Headers, WireResponse
from llmitm.mitm import stream_contract as stream
from llmitm.mitm.requests import drop, header_list, http_headers
from llmitm.stages.contract import Again, Answer, Decided, Denied, Forward, Hold, Refuse

_ROOM_BYTES = 1 << 20
_EMPTY = stream.Step()
_FRAMING = frozenset({b"content-length", b"content-encoding", b"transfer-encoding", b"trailer"})


class AnswerTap:
    """One exchange's answer over all its attempts.

    again: aims the flow at another outgoing request. `failure` is the last one told by content;
    `opened` tells whether the client's answer has begun; `held` is told what an operator must
    decide about, `resume` what was decided: then somebody calls `resumed`.
    """

    def __init__(self, exchange: Exchange, again: Callable[[Outgoing], None]) -> None:
        self._exchange = exchange
        self._answering = Answering(exchange)
        self._again = again
        self._tap: taps.Tap | None = None
        self._response: http.Response | None = None
        self._pieces: list[bytes] | None = None
        self._kept_bytes = 0
        self._cap_bytes = 0
        self.failure: Failure | None = None
        self.opened: Callable[[], bool] = lambda: False
        self.held: Callable[[Hold], None] = _nobody
        self.resume: Callable[[Decided], object] = _nobody_waits

    def head(self, response: http.Response) -> stream.Verdict:
        """What to do with this attempt's answer."""
        self._tap, self._pieces, self._response = None, None, response
        self.failure = None
        self._exchange.opened = self.opened()
        verdict = self._answering.head(response.status_code, header_list(response.headers))
        match verdict:
            case Failure(message=message):
                return stream.FailAttempt(message)
            case Buffer(cap_bytes=cap_bytes):
                self._pieces, self._kept_bytes, self._cap_bytes = [], 0, cap_bytes
                return stream.HoldBack(cap_bytes + _ROOM_BYTES)
            case Pass(tap=tap, status=status, headers=headers):
                self._tap = tap
                changes = tap.encoder is not None
                if changes:
                    drop(response.headers, _FRAMING)
                self._set_head(status, headers)
                if tap.holding:
                    return stream.HoldBack(changes=changes)
                return stream.Pass(changes=changes)

    def _set_head(self, status: int | None, headers: Headers | None) -> None:
        assert self._response is not None
        if status is not None:
            self._response.status_code = status
            self._response.reason = ""
        if headers is not None:
            self._response.headers = http_headers(headers)

    def feed(self, data: bytes) -> stream.TapStep:
        """The bytes for the client in place of `data`."""
        self._exchange.response_bytes += len(data)
        tap = self._tap
        if tap is not None:
            if tap.passes(data):
                return data
            held = tap.holding
            return self._step(tap.feed(data), held=held)
        if self._pieces is None:
            return data
        self._kept_bytes += len(data)
        if self._kept_bytes > self._cap_bytes and self._answering.may_pass_unread:
            self._exchange.notes.append(f"longer than {self._cap_bytes} bytes: passed on unread")
            held, self._pieces = b"".join((*self._pieces, data)), None
            return stream.Step(held, stream.Act.COMMIT)
        if self._kept_bytes > self._cap_bytes:
            return self._fail(
                Failure(kind="wire", message=f"the answer is longer than {self._cap_bytes} bytes")
            )
        self._pieces.append(data)
        return b""

    def end(self) -> stream.TapStep:
        """The upstream's answer is complete."""
        if self._tap is not None:
            held = self._tap.holding
            return self._step(self._tap.end(), held=held)
        if self._pieces is None or self._response is None:
            return _EMPTY
        status, headers = self._response.status_code, header_list(self._response.headers)
        return self._whole(self._answering.whole(status, headers, b"".join(self._pieces)))

    def _whole(self, result: WireResponse | Outgoing | Failure | Held | None) -> stream.TapStep:
        match result:
            case None:
                return b"".join(self._pieces or ())
            case Held(hold=hold):
                self.held(hold)
                return stream.Step(act=stream.Act.HOLD)
            case WireResponse():
                self._set_head(result.status, result.headers)
                return result.body
            case Failure():
                return self._fail(result)
            case Outgoing():
                self._again(result)
                return stream.Step(act=stream.Act.AGAIN)

    def broke(self, message: str) -> stream.TapStep:
        """The upstream broke off."""
        if self._tap is None:
            return self._fail(Failure(kind="broken", message=message))
        return self._step(self._tap.broke(message), held=self._tap.holding)

    def resumed(self, decision: object) -> stream.TapStep:
        """A hold is over: what waited follows."""
        assert isinstance(decision, Forward | Answer | Refuse | Denied)
        self._exchange.opened = self.opened()
        if self._tap is None:
            return self._whole(self._answering.decided(decision))
        return self._step(self._tap.decided(decision), held=self._tap.holding)

    def heartbeat(self) -> bytes:
        """A keep-alive in the client's protocol."""
        if self._tap is not None:
            return self._tap.heartbeat()
        return self._exchange.answers.encoder().heartbeat()

    def _step(self, step: taps.Step, *, held: bool) -> stream.TapStep:
        match step.action:
            case "go":
                if held and self._tap is not None and not self._tap.holding:
                    return stream.Step(step.out, stream.Act.COMMIT)
                return step.out
            case "cut":
                return stream.Step(step.out, stream.Act.CUT)
            case "fail":
                assert step.failure is not None
                return self._fail(step.failure)
            case "hold":
                assert step.hold is not None
                assert self._tap is not None
                self.held(step.hold)
                commits = held and not self._tap.holding
                return stream.Step(step.out, stream.Act.HOLD, commits=commits)
            case "again":
                assert step.again is not None
                return self._asked_again(step.out, step.again, spoken=not held)

    def _asked_again(self, out: bytes, again: Again, *, spoken: bool) -> stream.Step:
        result = self._exchange.again(again, spoken=spoken)
        if isinstance(result, WireResponse):
            told = self._exchange.fault_event() if spoken else result.body
            self._set_head(result.status, result.headers)
            return stream.Step(out + told, stream.Act.CUT)
        self._again(result)
        return stream.Step(out, stream.Act.AGAIN)

    def _fail(self, failure: Failure) -> stream.Step:
        self.failure = failure
        return stream.Step(act=stream.Act.FAIL, why=failure.message)


def _nobody(hold: Hold) -> None:
    raise AssertionError(f"nobody can be asked: {hold.reason}")


def _nobody_waits(decided: Decided) -> None:
    raise AssertionError(f"nothing is held: {decided}")
