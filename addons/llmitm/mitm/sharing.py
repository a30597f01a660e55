"""One answer for several clients: the first one's bytes, given to whoever asked the same.

    first = First(flow_id, cap_bytes, forget)
    steering.audience = first                        # the exchange that really asks
    first.attach(Attached(flow, steering, ...))      # one more that gets what the first one gets

What the first client is sent is kept up to `cap_bytes`; from then on nobody can attach any more
(`forget` is called), but who has done so goes on. Never: decides, contacts an upstream.
"""

from __future__ import annotations

from collections.abc import Callable

from mitmproxy import http
from mitmproxy.proxy.layers.http._events import HttpEvent, ResponseData, ResponseHeaders

from llmitm.exchange.wire import media_type
from llmitm.mitm.requests import header_list
from llmitm.mitm.stream_contract import Steering

# Where an event of a stream ends: only there an error event can follow.
_BORDERS = {"text/event-stream": (b"\n\n", b"\r\n\r\n", b"\r\r"), "application/x-ndjson": (b"\n",)}
_LONGEST_BORDER_BYTES = 4


class First:
    """What one exchange's client has been sent so far, and who gets the same. shared: whether
    others may get it; else it is only known that it runs."""

    def __init__(
        self, flow_id: str, cap_bytes: int, forget: Callable[[], None], *, shared: bool = True
    ) -> None:
        self.flow_id = flow_id
        self.shared = shared
        self.head: http.Response | None = None
        self.complete = False
        self.over = False
        self._cap_bytes = cap_bytes
        self._forget = forget
        self._pieces: list[bytes] = []
        self._size = 0
        self._attached: list[Attached] = []

    def attach(self, attached: Attached) -> None:
        """From now on it is told what comes; what came before it is given now."""
        self._attached.append(attached)
        if self.head is not None:
            attached.begin(self.head)
            attached.more(self.so_far())
        if self.complete:
            attached.end(self.so_far())
        elif self.over:
            attached.broke()

    def so_far(self) -> bytes:
        """The body up to now."""
        if len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0] if self._pieces else b""

    def sent(self, event: HttpEvent) -> None:
        """The first client's head, or a chunk for it."""
        if isinstance(event, ResponseData):
            self._data(event.data)
        elif isinstance(event, ResponseHeaders) and self.head is None:
            # The flow's own is edited later, at the latest when its body is stored.
            self.head = event.response.copy()
            self.head.data.content = None
            for each in self._attached:
                each.begin(self.head)

    def _data(self, data: bytes) -> None:
        if self._cap_bytes and self._size <= self._cap_bytes:
            self._size += len(data)
            self._pieces.append(data)
            if self._size > self._cap_bytes:
                self._forget()
                for each in self._attached:
                    each.too_long(self.so_far(), len(data))
                self._pieces = []
        self._attached = [each for each in self._attached if each.more(data)]

    def ended(self) -> None:
        """The first client's answer is complete."""
        self.complete = True
        self._forget()
        for each in self._attached:
            each.end(self.so_far())

    def closed(self) -> None:
        """The first exchange is over."""
        if self.over:
            return
        self.over = True
        self._forget()
        if not self.complete:
            for each in self._attached:
                each.broke()
        self._attached = []


class Attached:
    """One duplicate, waiting for its answer (`Plan.wait`).

    quiet: a keep-alive, which is no part of an answer; lost: called at most once when the first
    exchange broke off, with whether a part of the answer was given on, and whether an event of our
    own can follow it.
    """

    def __init__(
        self,
        flow: http.HTTPFlow,
        steering: Steering,
        quiet: bytes,
        lost: Callable[[bool, bool], None],
    ) -> None:
        self._flow = flow
        self._steering = steering
        self._lost = lost
        self._quiet = quiet
        self._content = False
        self._head: http.Response | None = None
        self._whole = False
        self._tail = b""

    def begin(self, head: http.Response) -> None:
        """The head of the answer. One of known length is given whole, with that length."""
        self._head = head.copy()
        self._whole = "content-length" in head.headers
        if not self._whole:
            self._open()

    def _open(self) -> None:
        self._steering.plan.open_head = self._head
        self._steering.push(b"")

    def more(self, data: bytes) -> bool:
        """A chunk of the body; False if nobody is there for it any more."""
        if self._steering.closed:
            return False
        if data and not self._whole:
            self._push(data)
        return True

    def _push(self, data: bytes) -> None:
        self._content = self._content or not self._is_quiet(data)
        self._tail = (self._tail + data[-_LONGEST_BORDER_BYTES:])[-_LONGEST_BORDER_BYTES:]
        self._steering.push(data)

    def _is_quiet(self, data: bytes) -> bool:
        quiet = self._quiet
        return bool(quiet) and data == quiet * (len(data) // len(quiet))

    def too_long(self, so_far: bytes, last_bytes: int) -> None:
        """The body is kept no longer: who waited for all of it gets it as it comes.

        last_bytes: so much at its end comes to `more` as well.
        """
        if self._whole and not self._steering.closed:
            self._whole = False
            self._open()
            self.more(so_far[: len(so_far) - last_bytes])

    def end(self, body: bytes) -> None:
        """The answer is complete."""
        if self._steering.closed:
            return
        if self._whole and self._head is not None:
            self._head.data.content = body
            self._flow.response = self._head
            self._steering.resume()
        else:
            self._steering.finish()

    def broke(self) -> None:
        """The first exchange broke off."""
        if self._steering.closed:
            return
        self._lost(self._content, self._between_events())

    def _between_events(self) -> bool:
        if self._head is None or "content-encoding" in self._head.headers:
            return False
        borders = _BORDERS.get(media_type(header_list(self._head.headers)), ())
        return bool(borders) and (not self._tail or self._tail.endswith(borders))
