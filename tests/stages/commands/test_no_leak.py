"""A model of a client replays random chats in every protocol: nothing of ours ever goes out.

What the provider gets is compared with what was really said between the user and the model, word
by word, whatever the client does to our answers and however often llmitm is started anew.
"""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmitm.canon.events import End, Event, Finish, PartDelta, PartEnd, PartStart, Start
from llmitm.canon.fold import fold
from llmitm.canon.parts import Part, Text, ToolCall, ToolResult
from llmitm.canon.request import Message, Request
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.catalog import DIALECTS
from llmitm.record.memory import DiskMemory
from llmitm.stages.commands.conversations import Conversations
from llmitm.stages.commands.stage import Commands
from llmitm.stages.contract import Answer, Forward, Turn
from stages.commands.running import is_directory, rules

CHATS = [name for name in DIALECTS if name not in ("ollama_generate",)]
QUIET = ["!/set(temperature=0.5)", "!/unset(temperature)", "!/set(project='x y')"]
TELLING = ["!/help", "!/hello", "!/list-failover-routes", "!/help(set)"]
FAILING = ["!/set(temperature=9)", "!/sett(x=1)", "!/set(temperature=0.1) !/nope"]
ALL = [*QUIET, *TELLING, *FAILING]
NUMBERS = itertools.count()

COMMAND = st.sampled_from(ALL)
DEEDS = st.one_of(
    st.tuples(st.just("alone"), COMMAND),
    st.tuples(st.just("with"), COMMAND),
    st.tuples(st.just("own part"), COMMAND),
    st.tuples(st.just("plain"), st.just("")),
    st.tuples(st.just("again"), COMMAND),
    st.tuples(st.just("restart"), st.just("")),
    st.tuples(st.just("count"), COMMAND),
)
ANSWERS = st.sampled_from(["text", "text", "call", "parallel", "text and call"])
TRIMS = st.sampled_from(["kept", "kept", "no mark", "only mark", "more behind", "spaces", "gone"])
STEP = st.tuples(DEEDS, ANSWERS, TRIMS, st.integers(0, 1))


@dataclass
class Chat:
    """One chat as its client keeps it, and what the user and the model really said in it."""

    history: list[Message] = field(default_factory=list)
    truth: list[tuple[str, str]] = field(default_factory=list)
    calls: tuple[ToolCall, ...] = ()

    def results(self) -> list[Message]:
        """What the tools that were called gave back; it is then on its way to the model."""
        given = [
            ToolResult(call_id=c.id, name=c.name, parts=(Text(text=f"r {c.id}"),))
            for c in self.calls
        ]
        self.truth += [("result", text_of_result(each)) for each in given]
        self.calls = ()
        return [Message(role="tool", parts=(each,)) for each in given]


@dataclass
class Proxy:
    """llmitm as far as the two stages go. leaks: every word that is never to be seen again."""

    name: str
    path: Path
    memory: DiskMemory = field(init=False)
    leaks: set[str] = field(default_factory=lambda: {"!/", "[llmitm", "[/llmitm"})

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        said: list[str] = []
        self.memory = DiskMemory(self.path, say=said.append)
        self.stages = (
            Conversations(self.memory),
            Commands(rules(), self.memory, is_directory),
        )
        assert said == []

    def turn(self, kind: str) -> Turn:
        return Turn(
            id=f"turn {next(NUMBERS)}",
            provider="p",
            protocol=self.name,
            client="",
            model="m",
            started_s=0,
            kind="count_tokens" if kind == "count" else "generate",
            scope=b"scope",
        )

    def ask(
        self, messages: list[Message], kind: str
    ) -> tuple[Turn, Request | None, tuple[Part, ...]]:
        """(the turn, what a provider gets, or else what llmitm answered)."""
        dialect = DIALECTS[self.name]
        wish = Request(dialect="elsewhere", model="m", messages=tuple(messages))
        body = dialect.encode_request(wish, DEFAULT_FACTS).body
        before = dialect.decode_request(body)
        turn, request = self.turn(kind), before
        for stage in self.stages:
            effect = stage.on_request(turn, request)
            if isinstance(effect, Answer):
                parts = effect.response.choices[0].parts
                self.heard(parts)
                return turn, None, parts
            if isinstance(effect, Forward):
                request = effect.request or request
            else:
                assert kind == "count", effect
                return turn, None, ()
        self.check(body, before, request)
        return turn, request, ()

    def heard(self, parts: tuple[Part, ...]) -> None:
        for part in parts:
            assert isinstance(part, Text)
            self.leaks |= {line for line in part.text.splitlines() if len(line) > 12}

    def check(self, body: bytes, before: Request, after: Request) -> None:
        """The bytes that go out hold nothing of ours, and were not written anew."""
        dialect = DIALECTS[self.name]
        made = dialect.patch_request(body, before, after, DEFAULT_FACTS)
        assert made is not None
        whole = dialect.encode_request(replace(after, model="m"), DEFAULT_FACTS)
        for sent in (made.body, whole.body):
            again = dialect.decode_request(sent)
            said = " ".join(text for _, text in words(again))
            for leak in self.leaks:
                assert leak not in said, (leak, said)
            assert words(again) == words(after)
        assert made.body == body or after != before

    def answered(self, turn: Turn, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        """The model's answer as the client gets it."""
        commands = self.stages[1]
        if not commands.watches(turn):
            return parts
        events: list[Event] = [Start(id="x", model="m")]
        for index, part in enumerate(parts):
            if isinstance(part, Text):
                events += [PartStart(index, Text(text="")), PartDelta(index, "text", part.text)]
            else:
                events.append(PartStart(index, part))
            events.append(PartEnd(index))
        events += [Finish("stop"), End()]
        response = fold([new for each in events for new in commands.on_event(turn, each)])
        got = response.choices[0].parts
        self.heard(tuple(part for part in got[:1]))
        return got


def text_of_result(result: ToolResult) -> str:
    return "".join(part.text for part in result.parts if isinstance(part, Text))


def words(request: Request) -> list[tuple[str, str]]:
    """(who, what) in order, neighbours of one speaker together, white space apart."""
    found: list[tuple[str, str]] = []
    for message in request.messages:
        for part in message.parts:
            match part:
                case Text() if part.text.strip():
                    found.append((message.role, part.text))
                case ToolCall():
                    found.append(("call", part.name))
                case ToolResult():
                    found.append(("result", text_of_result(part)))
                case _:
                    pass
    return together(found)


def together(said: list[tuple[str, str]]) -> list[tuple[str, str]]:
    made: list[tuple[str, str]] = []
    for who, what in said:
        bare = " ".join(what.split())
        if made and made[-1][0] == who and who in ("user", "assistant"):
            made[-1] = (who, f"{made[-1][1]} {bare}")
        else:
            made.append((who, bare))
    return made


def said_in(kind: str, command: str) -> tuple[tuple[Text, ...], str]:
    """(the user's text parts, the words that are for the model)."""
    own = f"u{next(NUMBERS)}"
    match kind:
        case "alone" | "again":
            return (Text(text=command),), ""
        case "with" | "count":
            return (Text(text=f"{own} please\n{command}"),), f"{own} please"
        case "own part":
            return (Text(text=own), Text(text=command)), own
        case _:
            return (Text(text=own),), own


def trimmed(parts: tuple[Part, ...], how: str) -> tuple[Part, ...]:
    (part,) = parts
    assert isinstance(part, Text)
    text = part.text
    match how:
        case "no mark":
            text = text[: text.rindex("[llmitm") - 3] or "…"
        case "only mark":
            text = text[text.rindex("[llmitm") :]
        case "more behind":
            text += "\n(0.00 $)"
        case "spaces":
            text = " ".join(text.split())
        case _:
            pass
    return (Text(text=text),)


def answer_of(kind: str) -> tuple[tuple[Part, ...], tuple[ToolCall, ...]]:
    number = next(NUMBERS)
    count = {"call": 1, "text and call": 1, "parallel": 2}.get(kind, 0)
    calls = tuple(
        ToolCall(id=f"call_{number}_{place}", name=f"f{number}_{place}", arguments="{}")
        for place in range(count)
    )
    text = (Text(text=f"m{number}"),) if "text" in kind else ()
    return (*text, *calls), calls


def take_step(proxy: Proxy, chat: Chat, kind: str, command: str, answer: str, trim: str) -> None:
    chat.history += chat.results()
    since = itertools.takewhile(lambda said: said[0] not in ("assistant", "call"), chat.truth[::-1])
    tools_wait = any(who == "result" for who, _ in since)
    parts, own = said_in(kind, command)
    asked = [*chat.history, Message(role="user", parts=parts)]
    if kind == "count":
        proxy.ask(asked, "count")
        return
    for _ in range(2 if kind == "again" else 1):
        turn, sent, local = proxy.ask(asked, kind)
    chat.history = asked
    if own:
        chat.truth.append(("user", own))
    if sent is None:
        if trim == "gone" and not own:
            return
        # Without its mark an answer is known by the commands alone that it answers.
        if trim in ("no mark", "gone") and (own or tools_wait):
            trim = "kept"
        chat.history.append(Message(role="assistant", parts=trimmed(local, trim)))
        return
    assert words(sent) == together(chat.truth)
    roles = [message.role for message in sent.messages]
    if proxy.name not in ("openai_responses", "openai_chat", "ollama_chat"):
        assert not any(one == other for one, other in itertools.pairwise(roles))
    model, calls = answer_of(answer)
    chat.history.append(Message(role="assistant", parts=proxy.answered(turn, model)))
    chat.truth += [("assistant", p.text) for p in model if isinstance(p, Text)]
    chat.truth += [("call", call.name) for call in calls]
    chat.calls = calls


@pytest.mark.parametrize("name", CHATS)
@settings(max_examples=30, deadline=None)
@given(st.lists(STEP, min_size=2, max_size=12))
def test_nothing_of_ours_goes_out(
    name: str, steps: list[tuple[tuple[str, str], str, str, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        proxy = Proxy(name, Path(folder) / "m.db")
        chats = (Chat(), Chat())
        for (kind, command), answer, trim, which in steps:
            if kind == "restart":
                proxy.memory.close()
                proxy.start()
                continue
            take_step(proxy, chats[which], kind, command, answer, trim)
        for chat in chats:
            take_step(proxy, chat, "plain", "", "text", "kept")
        proxy.memory.close()
