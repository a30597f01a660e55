"""What only mitmweb needs is loaded where mitmweb runs, and nowhere else.

mitmweb's handlers cost every other process 13 MB and a tenth of its start; they are subclassed by
modules that are loaded here by name, once.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

from mitmproxy import ctx
from tornado.web import Application


def mitmweb() -> Application | None:
    """mitmweb's application, None = this is another of mitmproxy's programs."""
    app: object = getattr(ctx.master, "app", None)
    return app if isinstance(app, Application) else None


def loaded(module: str, name: str) -> Callable[..., Any]:
    """A function of a module that subclasses mitmweb's handlers."""
    return cast("Callable[..., Any]", getattr(import_module(f"llmitm.mitm.review.{module}"), name))
