"""Secrets do not leave with a prompt, and stand in the answer again where the model names them.

What is a secret and what becomes of it: `rules/redact.yaml`. The headers of a request are not seen
here at all. Never: writes a secret to a log, a trace or the disk.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from llmitm.canon.events import Event, Fault
from llmitm.canon.request import Request
from llmitm.ruleset.redact import RedactMode
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.contract import FORWARD, Forward, Hold, Refuse, Stage, Turn
from llmitm.stages.redact.finding import Finder, Rows
from llmitm.stages.redact.placeholders import Tables
from llmitm.stages.redact.replacing import Replacing
from llmitm.stages.redact.restoring import Restoring

SECRET = "secret"  # noqa: S105
"""The verdict on a request that holds one."""
_NAME = "redact"
_ASKED = "redact asked"
_MOST_CLIENTS = 64
_EVERY: frozenset[RedactMode] = frozenset({"replace", "one_way", "block", "ask"})
_GUARDS: frozenset[RedactMode] = frozenset({"block", "ask"})


class Redact(Stage):
    """Redaction, reversible.

    salt: keys the placeholders, at most 64 bytes; kept over restarts, a conversation goes on with
    the same ones.
    """

    name = _NAME
    counts = True
    guards = True

    def __init__(self, ruleset: Ruleset, salt: bytes) -> None:
        self._file = file = ruleset.redact
        self._is_placeholder_key = ruleset.is_placeholder
        self._salt = salt
        self._rows = Rows(file)
        self._known: tuple[str, ...] = ()
        if file.known.enabled:
            self._known = tuple(key.get_secret_value() for key in ruleset.known_secrets)
        self._finder = Finder(self._rows, self._known, salt)
        self._of_clients: OrderedDict[tuple[str, ...], Finder] = OrderedDict()
        self._tables = Tables(salt)
        self._guards = bool(_GUARDS & set(self._rows.modes.values()))

    def watches(self, turn: Turn) -> bool:
        """Whether something was replaced in this conversation and may be named in the answer."""
        return bool(self._tables.find(_key(turn)))

    def on_request(self, turn: Turn, request: Request) -> Forward | Refuse | Hold:
        """The request without its secrets; refused or held where a rule says so."""
        wished = turn.conversation.settings.redact_api_keys
        enabled = self._file.enabled if wished is None else wished
        if not enabled and not self._guards:
            return FORWARD
        acting = _EVERY if enabled else _GUARDS
        if _ASKED in turn.memory:
            # An operator has let this exchange go on; now the model is asked again.
            acting -= {"ask"}
        work = self._work(turn, acting)
        left = work.request(request)
        if left is request:
            return FORWARD
        if work.refusing:
            return _refused(work.refusing)
        told = ", ".join(f"{count} {rule}" for rule, count in sorted(work.rules.items()))
        if work.asking:
            turn.memory[_ASKED] = True
            return Hold(
                reason=f"the prompt holds a secret: {told}",
                rule=work.asking,
                verdicts=(SECRET,),
                # An operator lets out what asks; the other secrets stay here all the same.
                approved=Forward(request=self._work(turn, acting - {"ask"}).request(request)),
                shown=left,
                timeout_s=self._file.ask_timeout_s,
                default=_refused(work.asking),
                why=f"{work.asking} asks",
            )
        turn.verdicts.add(SECRET)
        comment = f"{work.new} secrets kept back: {told}" if work.new else None
        return Forward(request=left, comment=comment, why=f"replaced: {told}")

    def _work(self, turn: Turn, acting: frozenset[RedactMode]) -> Replacing:
        return Replacing(
            finder=self._finder_for(turn.secrets),
            placeholders=lambda: self._tables.of(_key(turn)),
            items=self._rows.items,
            acting=acting,
            one_way_text=self._file.one_way_text,
        )

    def on_event(self, turn: Turn, event: Event) -> Sequence[Event]:
        """The answer with what was replaced in this conversation."""
        restoring = turn.memory.get(_NAME)
        if restoring is None:
            restoring = turn.memory[_NAME] = Restoring(
                self._tables.of(_key(turn)), self._rows.items
            )
        return restoring.feed(event)

    def _finder_for(self, secrets: tuple[str, ...]) -> Finder:
        """The finder that also knows these, as far as they are secrets."""
        if not secrets or not self._file.known.enabled:
            return self._finder
        finder = self._of_clients.get(secrets)
        if finder is not None:
            self._of_clients.move_to_end(secrets)
            return finder
        least = self._rows.min_chars
        own = {text for text in secrets if len(text) >= least} - set(self._known)
        own = {text for text in own if not self._is_placeholder_key(text)}
        finder = Finder(self._rows, (*self._known, *own), self._salt) if own else self._finder
        self._of_clients[secrets] = finder
        if len(self._of_clients) > _MOST_CLIENTS:
            self._of_clients.popitem(last=False)
        return finder


def _key(turn: Turn) -> str:
    """Whose placeholders they are."""
    return turn.conversation.key or turn.scope.hex()


def _refused(rule: str) -> Refuse:
    say = f"the prompt holds a secret ({rule}), which the rules do not let out"
    fault = Fault(kind="permission", message=say, status=403, code="policy_rejected")
    return Refuse(fault=fault, why=f"{rule} blocks")
