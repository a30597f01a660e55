"""A model's whole answer, whatever protocol and however it arrived."""

from __future__ import annotations

from llmitm.canon.events import Fault, Finish, Opaque, Usage
from llmitm.canon.parts import Part
from llmitm.canon.values import NO_EXTRAS, Extras, value


@value(kw_only=True)
class Choice:
    """One of the answers asked for. finish: None = the answer broke off before it was told."""

    index: int = 0
    parts: tuple[Part, ...] = ()
    finish: Finish | None = None


@value(kw_only=True)
class Response:
    """The answer. choices: in index order; fault: the error that ended it, None = it went well.

    opaque: frames that no part could take, in order; ended: the protocol's own end was seen;
    extras: top-level wire keys; end_extras: those of the closing frame;
    dialect: the protocol it was read from, which extras everywhere belong to, empty = llmitm's own.
    """

    id: str = ""
    model: str = ""
    created_s: int | None = None
    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    fault: Fault | None = None
    opaque: tuple[Opaque, ...] = ()
    ended: bool = False
    extras: Extras = NO_EXTRAS
    end_extras: Extras = NO_EXTRAS
    dialect: str = ""
