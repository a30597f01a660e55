"""Stages, turns and conversations for tests of redaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pydantic import SecretStr

from llmitm.canon.events import Event
from llmitm.canon.parts import Text
from llmitm.canon.request import Message, Request
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.redact import RedactFile
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.contract import Forward, Turn
from llmitm.stages.conversation import Conversation
from llmitm.stages.redact.stage import Redact

SHIPPED = load_folders([shipped_folder()], {})
SALT = b"salt of a test"


def ruleset(environ: Mapping[str, str] | None = None, **changes: object) -> Ruleset:
    """The shipped rules, with these variables' values as known secrets and other values of
    `redact.yaml`."""
    file = SHIPPED.redact
    if changes:
        file = RedactFile.model_validate_json(file.model_copy(update=changes).model_dump_json())
    known = tuple(SecretStr(text) for text in (environ or {}).values())
    return replace(SHIPPED, redact=file, known_secrets=known)


def stage(environ: Mapping[str, str] | None = None, **changes: object) -> Redact:
    return Redact(ruleset(environ, **changes), SALT)


def turn(conversation: str = "c1", secrets: tuple[str, ...] = (), **settings: object) -> Turn:
    made = Turn(
        id="t", provider="openai", protocol="openai_chat", client="", model="m", started_s=0.0
    )
    made.conversation = Conversation(key=conversation)
    made.conversation.set(**settings)
    made.secrets = secrets
    return made


def asks(*texts: str) -> Request:
    messages = tuple(Message(role="user", parts=(Text(text=text),)) for text in texts)
    return Request(dialect="openai_chat", model="m", messages=messages)


def sent(redact: Redact, on: Turn, request: Request) -> Request:
    """The request as it goes on."""
    effect = redact.on_request(on, request)
    assert isinstance(effect, Forward), effect
    return request if effect.request is None else effect.request


def shown(redact: Redact, on: Turn, events: Iterable[Event]) -> list[Event]:
    """The events as the client gets them; unread where the stage does not watch."""
    if not redact.watches(on):
        return list(events)
    return [one for event in events for one in redact.on_event(on, event)]
