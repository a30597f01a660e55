"""Which rule of `rules/review.yaml` holds this, and what is the operator told?

Never: holds anything itself.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from llmitm.canon.events import Fault, Finish, Usage
from llmitm.canon.parts import Text, ToolCall
from llmitm.canon.request import Request
from llmitm.canon.response import Choice, Response
from llmitm.ruleset.models import cost_usd
from llmitm.ruleset.review import Asking, Held, ReviewRuleRow
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.asked import asked_of, newest_texts, prompt_tokens
from llmitm.stages.contract import FORWARD, Answer, Decided, Denied, Hold, Refuse, Turn
from llmitm.stages.review.wishes import ByFilter, Wishes

TIMED_OUT = "review_timeout"
"""The error code where nobody has decided."""
_TOOLS_ELSEWHERE = ("cachedContent", "prompt")
"""Top-level keys of a request by which tools come that it does not list."""


@dataclass(frozen=True, slots=True)
class Because:
    """Why something is held: a rule, or the wish of an operator. say: one clause."""

    say: str
    rule: ReviewRuleRow | None = None


class Rules:
    """The rules, asked about one turn."""

    def __init__(self, ruleset: Ruleset, wishes: Wishes, by_filter: ByFilter) -> None:
        self._file = ruleset.review
        self._price = ruleset.models.price
        self._expected = ruleset.budgets.expected_output_tokens
        self._wishes = wishes
        self._by_filter = by_filter

    @property
    def max_answer_chars(self) -> int:
        """Of an answer, so much is kept back at most."""
        return self._file.max_answer_chars

    def wished(self, turn: Turn, kind: Held) -> str | None:
        """Why an operator wants to see such a thing of this turn, None = nobody does."""
        return self._wishes.wants(turn, kind)

    def fitting(self, turn: Turn, request: Request, kind: Held) -> tuple[ReviewRuleRow, ...]:
        """The rules that may hold such a thing, as far as the request tells."""
        rows = self._file.of(kind)
        if not rows:
            return ()
        asking = self._asking(turn, request, estimates=any(row.estimates for row in rows))
        return tuple(row for row in rows if self._may_hold(row, turn, request, asking, kind))

    def _may_hold(
        self, row: ReviewRuleRow, turn: Turn, request: Request, asking: Asking, kind: Held
    ) -> bool:
        if not row.may_fit(asking):
            return False
        calls = kind == "tool_call" or row.tools or row.arguments is not None
        if calls and not _offers(request, row):
            return False
        if kind != "response" and not row.says(newest_texts(request)):
            return False
        if kind == "request" and not row.found(turn.verdicts):
            return False
        return row.filter is None or self._by_filter(turn.id, row.filter)

    def _asking(self, turn: Turn, request: Request, *, estimates: bool) -> Asking:
        provider, model = asked_of(turn)
        tokens = prompt_tokens(request) if estimates else 0
        most = request.sampling.max_tokens
        answer = self._expected if most is None else min(self._expected, max(most, 0))
        usage = Usage(input_tokens=tokens, output_tokens=answer)
        return Asking(
            provider=provider,
            model=model,
            client=turn.client,
            tokens=tokens,
            cost_usd=cost_usd(usage, self._price(model)) if estimates else None,
            first=is_first(turn, request),
            id=turn.id,
        )

    def hold(
        self,
        turn: Turn,
        because: Because,
        *,
        call: ToolCall | None = None,
        response: Response | None = None,
    ) -> Hold:
        """The hold. Both None: of the request."""
        row = because.rule
        timeout_s = self._file.timeout_s
        if row is not None and row.timeout_s is not None:
            timeout_s = row.timeout_s
        return Hold(
            reason=because.say,
            rule="" if row is None else row.name,
            timeout_s=timeout_s,
            default=_outcome(row, call),
            verdicts=tuple(sorted(turn.verdicts)),
            may_approve=row is None or not row.human,
            call=call,
            response=response,
            why=because.say,
        )


def is_first(turn: Turn, request: Request) -> bool:
    """Whether the model has not yet said anything in the conversation."""
    if request.previous_response_id is not None or turn.conversation.model_turns:
        return False
    return all(message.role != "assistant" for message in request.messages)


def offers_tools(request: Request) -> bool:
    """Whether the model may call a tool that the client runs."""
    return any(tool.kind != "server" for tool in request.tools) or _elsewhere(request)


def _offers(request: Request, row: ReviewRuleRow) -> bool:
    named = (tool.name for tool in request.tools if tool.kind != "server")
    return any(row.names(name) for name in named) or _elsewhere(request)


def _elsewhere(request: Request) -> bool:
    return any(key in request.extras for key in _TOOLS_ELSEWHERE)


def canonical(call: ToolCall) -> str:
    """The call's arguments in the form that rules search: keys sorted, no spaces; what is no JSON
    stands for itself."""
    text = call.arguments.strip()
    if call.kind != "function":
        return text
    try:
        held = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text
    return json.dumps(held, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def of_call(
    rows: Iterable[ReviewRuleRow], call: ToolCall, verdicts: Collection[str], *, is_cut: bool
) -> Because | None:
    """Why this call is held. is_cut: its arguments are longer than is kept back, so that what
    could not be searched counts as found."""
    arguments: str | None = None
    for row in rows:
        if not row.names(call.name) or not row.found(verdicts):
            continue
        if row.arguments is not None and not is_cut:
            if arguments is None:
                arguments = canonical(call)
            if not row.is_in(arguments):
                continue
        return Because(_said(row, f"a call of {call.name}", is_cut=is_cut), row)
    return None


def of_answer(
    rows: Iterable[ReviewRuleRow],
    calls: Collection[ToolCall],
    texts: Collection[str],
    verdicts: Collection[str],
    *,
    is_cut: bool,
) -> Because | None:
    """Why this answer is held. is_cut: it is longer than is kept back."""
    for row in rows:
        named = not row.tools and row.arguments is None
        named = named or any(row.names(call.name) and row.is_in(canonical(call)) for call in calls)
        if is_cut or (named and row.found(verdicts) and row.says(texts)):
            return Because(_said(row, "an answer", is_cut=is_cut), row)
    return None


def of_request(row: ReviewRuleRow) -> Because:
    """Why this request is held."""
    return Because("an operator plays the model" if row.human else _said(row, "a request"), row)


def _said(row: ReviewRuleRow, what: str, *, is_cut: bool = False) -> str:
    about: list[str] = []
    if row.verdicts:
        about.append(f"with {' or '.join(row.verdicts)} found")
    if row.over_usd is not None:
        about.append(f"estimated at more than ${row.over_usd:g}")
    if row.over_tokens is not None:
        about.append(f"of more than {row.over_tokens:,} tokens")
    if row.text is not None:
        about.append(f"with {row.text[:60]!r}")
    if row.first_use:
        about.append("that begins a conversation")
    if is_cut:
        about.append("longer than can be kept back; it is shown as far as it has come")
    return " ".join((what, ", ".join(about))).strip()


def _outcome(row: ReviewRuleRow | None, call: ToolCall | None) -> Decided:
    """What happens when nobody has decided."""
    if row is not None and row.on_timeout == "approve":
        return FORWARD
    if row is not None and row.answer is not None:
        return Answer(response=in_words(row.answer), why="nobody has decided")
    # No figure: the client's patience, too many that wait and a live answer move the deadline.
    say = "no operator has decided about this in time"
    if call is not None:
        return Denied(
            message=f"[Tool call stopped: `{call.name}` was not run: {say}.]", form="refusal"
        )
    fault = Fault(kind="permission", message=f"llmitm: {say}", status=403, code=TIMED_OUT)
    return Refuse(fault=fault, why=say)


def in_words(text: str) -> Response:
    """An answer that says this."""
    choice = Choice(parts=(Text(text=text),), finish=Finish("stop"))
    return Response(choices=(choice,), ended=True)
