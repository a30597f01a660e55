"""The addons, in the order in which mitmproxy calls them. The composition of the whole product."""

from __future__ import annotations

from llmitm.mitm.decrypt import Decrypt
from llmitm.mitm.intercept import Intercept
from llmitm.mitm.layer_swap import LayerSwap
from llmitm.mitm.recorder import Recorder
from llmitm.mitm.rulebook import Rulebook
from llmitm.mitm.stream import Streams
from llmitm.mitm.view import View


def addons(*, observe: bool = False) -> list[object]:
    """All addons. observe: watch and record only."""
    rulebook = Rulebook(observe=observe)
    recorder = Recorder()
    streams = Streams()
    return [
        rulebook,
        recorder,
        Decrypt(rulebook),
        LayerSwap(streams),
        Intercept(rulebook, streams, recorder),
        View(rulebook),
    ]
