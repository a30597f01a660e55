"""Runs the commands in the user's newest message and keeps them from every provider.

Alone they are answered here. Beside other text the request goes on without them, and what an
informational command tells is put before the model's answer. A command that fails is answered
here, and nothing is sent. What was said is kept in memory first, so that the stage `conversations`
can cut it out of the history that clients send back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from llmitm.canon.digests import digest
from llmitm.canon.events import (
    Event,
    Fault,
    Finish,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Start,
    Usage,
)
from llmitm.canon.parts import Text
from llmitm.canon.request import Request
from llmitm.canon.response import Choice, Response
from llmitm.canon.turns import text_of
from llmitm.canon.values import pointer
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.commands.engine import Outcome, prefix_of, run, run_again, turns_on
from llmitm.stages.commands.marks import (
    answer_key,
    as_block,
    command_key,
    new_tag,
    response_key,
    tag_key,
    with_mark,
)
from llmitm.stages.commands.tail import Tail, commands_in
from llmitm.stages.contract import FORWARD, Answer, Forward, Refuse, Stage, Turn
from llmitm.stages.conversation import Block, Memory

_NO_USAGE = Usage(input_tokens=0, output_tokens=0, total_tokens=0)
_NOTHING_LEFT = Fault(
    kind="invalid_request",
    status=400,
    code="nothing_but_commands",
    message="llmitm: the request holds nothing but commands",
)

_WANTS_JSON = Fault(
    kind="invalid_request",
    status=400,
    code="commands_in_json",
    message="llmitm: this request wants its answer as JSON, and commands alone are answered in "
    "words: nothing was run",
)


@dataclass(slots=True)
class _Told:
    """What goes before the model's answer. given: this attempt's answer has it already."""

    block: str
    given: bool = False


class Commands(Stage):
    """The commands of the chat. is_directory: whether a path is an existing folder."""

    name = "commands"
    counts = True

    def __init__(
        self, ruleset: Ruleset, memory: Memory, is_directory: Callable[[str], bool]
    ) -> None:
        self._ruleset = ruleset
        self._memory = memory
        self._is_directory = is_directory

    def on_request(self, turn: Turn, request: Request) -> Forward | Answer | Refuse:
        """The request without its commands, or llmitm's own answer to them."""
        enabled = self._ruleset.commands.enabled
        prefix = prefix_of(turn.conversation, self._ruleset) if enabled else ""
        tail = self._tail(turn, request, prefix)
        off = turn.conversation.settings.interactive is False
        if off and tail is not None and not turns_on(tail.found):
            tail = self._tail(turn, request, "")
        if tail is None:
            return FORWARD
        if turn.kind == "count_tokens":
            if tail.empty:
                return Refuse(fault=_NOTHING_LEFT, why="nothing but commands")
            return Forward(request=tail.request, why="commands are not counted")
        if not tail.found:
            return Forward(request=tail.request, why="commands that have run")
        return self._run(turn, request, tail, prefix)

    def _tail(self, turn: Turn, request: Request, prefix: str) -> Tail | None:
        memory, scope = self._memory, turn.scope
        joined = turn.memory.get("conversations")
        prefixes = memory.prefixes(scope) if memory.knows(scope) else frozenset[str]()

        def ran(text: str) -> Block | None:
            if not any(each in text for each in prefixes):
                return None
            block = memory.block(scope, command_key(memory, scope, text))
            return block if block is not None and block.kind == "command" else None

        again = turn.conversation.last_command
        return commands_in(
            request,
            prefix,
            self._ruleset.commands.mode,
            self._ruleset.clients.added(turn.client),
            joined if isinstance(joined, int) else None,
            # In a request that is asked again they all have run, and each counts as before.
            None if not prefixes or (again and again == self._asked(request)) else ran,
        )

    def _run(
        self, turn: Turn, request: Request, tail: Tail, prefix: str
    ) -> Forward | Answer | Refuse:
        conversation, memory = turn.conversation, self._memory
        for text in tail.texts:
            block = Block(
                kind="command",
                conversation=conversation.key,
                prefix=prefix,
                mode=self._ruleset.commands.mode,
            )
            memory.keep(turn.scope, command_key(memory, turn.scope, text), block)
        names = ", ".join(each.name for each in tail.found)
        form = request.response_format
        if form is not None and form.kind != "text" and tail.alone:
            # A side call (Gemini CLI's classifier) that holds the user's words.
            return Refuse(fault=_WANTS_JSON, why=f"{names}: an answer in JSON is wanted")
        asked = self._asked(request)
        if asked == conversation.last_command:
            run_again(conversation, self._ruleset, tail.found, self._is_directory)
            outcome = Outcome(ok=True, said=conversation.last_answer, told=conversation.last_answer)
            why = f"{names}: a repeated request"
        else:
            outcome = run(conversation, self._ruleset, tail.found, self._is_directory, prefix)
            if outcome.ok:
                conversation.last_command = asked
                conversation.last_answer = outcome.said if tail.alone else outcome.told
            why = f"{names}: {'done' if outcome.ok else 'refused'}"
        if tail.alone or not outcome.ok:
            answer = self._answer(turn, request, outcome.said)
            memory.save(conversation)
            return Answer(response=answer, why=why)
        if outcome.told and (form is None or form.kind == "text"):
            turn.memory[self.name] = _Told(as_block(outcome.told, self._tag(turn)))
        memory.save(conversation)
        return Forward(request=tail.request, why=why)

    def _asked(self, request: Request) -> str:
        """A digest by which a client's repetition of the request is known."""
        texts = [request.model, request.previous_response_id or ""]
        for message in request.messages:
            texts += [message.role, pointer(message.at), text_of(message.parts)]
        return digest(self._memory.salt, texts).hex()

    def _tag(self, turn: Turn) -> str:
        """The conversation's visible mark, which is kept before anybody sees it."""
        memory, conversation = self._memory, turn.conversation
        if not conversation.tag:
            conversation.tag = new_tag(memory, turn.scope, turn.id)
        block = Block(kind="tag", conversation=conversation.key)
        memory.keep(turn.scope, tag_key(memory, turn.scope, conversation.tag), block)
        return conversation.tag

    def _answer(self, turn: Turn, request: Request, said: str) -> Response:
        """What llmitm says in the model's place; an id that a client may go on from is kept."""
        memory = self._memory
        answer_id = ""
        if turn.protocol == "openai_responses":
            answer_id = f"resp_llmitm_{digest(memory.salt, ('answer', turn.id)).hex()}"
            block = Block(
                kind="response",
                conversation=turn.conversation.key,
                replaces=request.previous_response_id or "",
            )
            memory.keep(turn.scope, response_key(memory, turn.scope, answer_id), block)
        text = Text(text=with_mark(said, self._tag(turn)))
        block = Block(kind="tag", conversation=turn.conversation.key)
        memory.keep(turn.scope, answer_key(memory, turn.scope, text.text), block)
        return Response(
            id=answer_id,
            model=request.model,
            choices=(Choice(parts=(text,), finish=Finish("stop")),),
            usage=_NO_USAGE,
            ended=True,
        )

    def watches(self, turn: Turn) -> bool:
        """Only where something is to be put before the model's answer."""
        return self.name in turn.memory

    def on_event(self, turn: Turn, event: Event) -> Sequence[Event]:
        """The answer with one more text part before its first."""
        told = turn.memory.get(self.name)
        if not isinstance(told, _Told):
            return (event,)
        if isinstance(event, Start):
            told.given = False
            return (event,)
        if not isinstance(event, PartStart | PartDelta | PartDetail | PartEnd | Finish):
            return (event,)
        if event.choice != 0:
            return (event,)
        before: tuple[Event, ...] = ()
        if not told.given:
            told.given = True
            before = (PartStart(0, Text(text="")), PartDelta(0, "text", told.block), PartEnd(0))
        if isinstance(event, Finish):
            return (*before, event)
        return (*before, replace(event, index=event.index + 1))
