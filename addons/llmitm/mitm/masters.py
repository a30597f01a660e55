"""mitmproxy's interfaces with our addons at the right place (`dumping`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mitmproxy import options
from mitmproxy.tools import cmdline
from mitmproxy.tools.console import signals
from mitmproxy.tools.console.master import ConsoleMaster
from mitmproxy.tools.web.master import WebMaster

from llmitm.mitm.dumping import furnish, prepare, run_master
from llmitm.mitm.review.in_console import InConsole


class Web(WebMaster):
    """mitmweb with llmitm in it."""

    def __init__(self, opts: options.Options) -> None:
        prepare(opts)
        super().__init__(opts)
        furnish(self)


class Console(ConsoleMaster):
    """mitmproxy's console with llmitm in it."""

    def __init__(self, opts: options.Options) -> None:
        prepare(opts)
        super().__init__(opts)
        furnish(self)
        self._in_console = InConsole(self, _ask)
        self.addons.add(self._in_console)

    async def done(self) -> None:
        """The editor gives the terminal back before the console does."""
        await self._in_console.close()
        await super().done()


def _ask(prompt: str, then: Callable[[str], None]) -> None:
    signals.status_prompt.send(prompt=prompt, text="", callback=then)


def web(argv: Sequence[str]) -> int:
    """`llmitm web`: the browser interface; the exit code."""
    return run_master("web", Web, cmdline.mitmweb, argv)


def console(argv: Sequence[str]) -> int:
    """`llmitm console`: the terminal interface; the exit code."""
    return run_master("console", Console, cmdline.mitmproxy, argv)
