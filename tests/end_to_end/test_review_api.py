"""The interface of the review page over real sockets: REST, WebSocket, its schema, and a fuzz."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from json_schema import faults
from llmitm.canon.parts import Text, ToolCall
from llmitm.canon.request import Message, Tool
from llmitm.desk.cards import Card
from llmitm.desk.edits import check, document_of
from llmitm.desk.edits import edited as real_edited
from llmitm.desk.messages import Checked
from llmitm.mitm.review.hub import MOST_LINES_OF_ADDRESS, MOST_WAITING
from llmitm.ruleset.models import PriceRow
from llmitm.stages.contract import FORWARD, Answer, Denied, Forward, Refuse
from review_cases import call_card, card, request, response_card
from review_served import (
    Served,
    closed,
    errors_of,
    run,
    said,
    said_until,
    say,
    served,
)

pytestmark = pytest.mark.end_to_end
API = "/llm/api/v1"


def test_rest_decides_as_its_words_say(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            token = await one.log_in()
            desk = one.desk
            held = {name: desk.offer(card(name, text=name)) for name in ("a", "b", "c", "d")}
            call, whole = desk.offer(call_card("t")), desk.offer(response_card("r"))
            listed = json.loads((await one.ask("GET", f"{API}/requests", token=token)).body)
            digests = {row["request_id"]: row["digest"] for row in listed["requests"]}
            assert list(digests) == ["a", "b", "c", "d", "t", "r"]

            async def act(name: str, action: str, **body: Any) -> Any:
                path = f"{API}/requests/{name}/{action}?operator=ann"
                told = await one.ask("POST", path, body, token=token)
                assert told.code == 200, told.body
                return json.loads(told.body)

            approved = await act("a", "approve", digest=digests["a"], note="fine")
            assert approved == {"request_id": "a", "state": "approve"}
            assert (await act("b", "check", document="dear"))["warnings"][0]["cost_usd"] == 0.5
            await act("b", "edit", digest=digests["b"], document="ask better")
            await act("c", "answer", content="from me", finish_reason="stop")
            await act("d", "reject", reason="not now")
            await act("t", "reject", reason="no rain today", form="tool_result")
            await act("r", "approve", digest=digests["r"])
            assert held["a"].decisions == [FORWARD]
            [sent] = held["b"].decisions
            assert isinstance(sent, Forward)
            assert sent.request is not None
            [spoken] = held["c"].decisions
            assert isinstance(spoken, Answer)
            assert spoken.response.choices[0].parts == (Text(text="from me"),)
            [refused] = held["d"].decisions
            assert isinstance(refused, Refuse)
            assert refused.fault.message == "not now"
            [denied] = call.decisions
            assert isinstance(denied, Denied)
            assert (denied.form, denied.message) == ("tool_result", "no rain today")
            assert whole.decisions == [FORWARD]
            past = json.loads((await one.ask("GET", f"{API}/history/a", token=token)).body)
            assert (past["action"], past["by"], past["note"]) == ("approve", "ann@admin", "fine")
            history = json.loads((await one.ask("GET", f"{API}/history", token=token)).body)
            assert [row["request_id"] for row in history["history"]] == [
                "r",
                "t",
                "d",
                "c",
                "b",
                "a",
            ]
            stats = json.loads((await one.ask("GET", f"{API}/stats", token=token)).body)
            assert (stats["waiting"], stats["decided"]["approve"]) == (0, 2)

    run(story())


def test_what_cannot_be_done_says_why(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            token = await one.log_in()
            waits = one.desk.offer(card("a"))
            digest = one.desk.queue.view("a").digest

            async def fails(path: str, body: object) -> tuple[int, dict[str, Any]]:
                told = await one.ask("POST", f"{API}/requests/{path}", body, token=token)
                return told.code, errors_of(told)

            code, error = await fails("zz/approve", {"digest": digest})
            assert (code, error["code"], error["request_id"]) == (404, "not_found", "zz")
            code, error = await fails("a/approve", {"digest": "0" * 64})
            assert (code, error["code"]) == (409, "stale")
            code, error = await fails("a/approve", {})
            assert (code, error["code"]) == (422, "invalid")
            assert "digest" in error["message"]
            code, error = await fails("a/approve", {"digest": digest, "request_id": "b"})
            assert (code, error["code"]) == (422, "invalid")
            code, error = await fails("a/edit", {"digest": digest, "document": "wrong"})
            assert (code, error["message"]) == (422, "line 3: no such role")
            code, error = await fails("a/edit", {"digest": "0" * 64, "document": "wrong"})
            assert (code, error["code"]) == (409, "stale")
            code, error = await fails("a/edit", {"digest": digest, "document": "dear"})
            assert (code, error["code"]) == (409, "confirm")
            assert error["warnings"] == [{"say": "the cache is lost", "cost_usd": 0.5}]
            code, error = await fails("a/nothing", {})
            assert (code, error["code"]) == (404, "not_found")
            told = await one.ask("DELETE", f"{API}/requests", token=token)
            assert told.code == 405
            told = await one.ask(
                "POST", f"{API}/requests/a/approve", token=token, raw=b"digest=1",
                headers={"Content-Type": "application/x-www-form-urlencoded"},
            )  # fmt: skip
            assert told.code == 415
            assert waits.decisions == []
            path = "a/edit"
            told = await one.ask(
                "POST",
                f"{API}/requests/{path}",
                {"digest": digest, "document": "dear", "anyway": True},
                token=token,
            )
            assert told.code == 200
            code, error = await fails("a/approve", {"digest": digest})
            assert (code, error["code"]) == (409, "already_decided")
            assert (error["by"], error["action"]) == ("admin", "edit")

    run(story())


def test_a_document_is_checked_edited_and_sent(tmp_path: Path) -> None:
    price = PriceRow(name="x", models=("*",), input=3.0, cache_read=0.3)

    def effects(card: Card, document: str) -> Checked:
        return check(card, document, lambda _: price)

    async def story() -> None:
        async with served(tmp_path, documents=(effects, real_edited)) as one:
            token = await one.log_in()
            long = "the history of the weather " * 1000
            turns = (("user", long), ("assistant", "I see"), ("user", "go on"))
            messages = tuple(Message(role=role, parts=(Text(text=text),)) for role, text in turns)
            shown = card("a", request=request(messages=messages))
            exchange = one.desk.offer(shown)
            document, digest = document_of(shown), shown.digest

            async def post(action: str, **body: Any) -> dict[str, Any]:
                path = f"{API}/requests/a/{action}"
                told = json.loads((await one.ask("POST", path, body, token=token)).body)
                return told.get("error", told)

            fine = await post("check", document=document)
            assert fine == {"request_id": "a", "ok": True, "errors": [], "warnings": []}
            broken = document.replace("role: user", "role: nobody").replace("model:", "modell:")
            mistakes = (await post("check", document=broken))["errors"]
            assert len(mistakes) >= 3
            assert all(document_line(broken, each["line"]) for each in mistakes)
            said_no = await post("edit", document=broken, digest=digest)
            assert said_no["code"] == "invalid"
            assert f"line {mistakes[0]['line']}: " in said_no["message"]
            dear = document.replace("the weather", "the sun", 1)
            asked = await post("edit", document=dear, digest=digest)
            assert asked["code"] == "confirm"
            assert asked["warnings"][0]["cost_usd"] > 0.001
            assert exchange.decisions == []
            done = await post("edit", document=dear, digest=digest, anyway=True)
            assert done == {"request_id": "a", "state": "edit"}
            [sent] = exchange.decisions
            assert isinstance(sent, Forward)
            assert sent.request is not None
            first, *rest = sent.request.messages
            assert first.parts == (Text(text=long.replace("the weather", "the sun", 1)),)
            # What was not edited is the very same object.
            assert all(one is other for one, other in zip(rest, messages[1:], strict=True))

    run(story())


def document_line(document: str, line: int) -> str:
    return document.splitlines()[line - 1]


def test_tools_and_standing_approvals(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            token = await one.log_in()
            tool = Tool(name="mail", description="Sends", parameters={"type": "object"})
            one.desk.offer(card("a", request=request(tools=(tool,))))
            tools = await one.ask("GET", f"{API}/requests/a/tools", token=token)
            assert json.loads(tools.body) == [
                {
                    "name": "mail",
                    "kind": "function",
                    "description": "Sends",
                    "parameters": {"type": "object"},
                }
            ]
            body = {"digest": one.desk.queue.view("a").digest, "minutes": 5}
            told = await one.ask("POST", f"{API}/requests/a/approve", body, token=token)
            assert told.code == 200
            rows = await one.ask("GET", f"{API}/approvals", token=token)
            [row] = json.loads(rows.body)["approvals"]
            gone = await one.ask("DELETE", f"{API}/approvals/{row['id']}", token=token)
            assert json.loads(gone.body) == {"revoked": row["id"]}
            again = await one.ask("DELETE", f"{API}/approvals/{row['id']}", token=token)
            assert again.code == 404

    run(story())


def test_hilts_messages_write_an_answer_live(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            token = await one.log_in()
            ann, bob = await one.socket(token, "&operator=ann"), await one.socket(token)
            first = await said(ann)
            assert first["type"] == "snapshot"
            assert first["data"]["operator"] == "ann@admin"
            await said(bob)
            exchange = one.desk.offer(card("a"))
            shown = await said_until(ann, "new_request")
            assert shown["request_id"] == "a"
            await say(ann, "start_response", request_id="a")
            assert (await said_until(bob, "request_updated"))["writer"] == "ann@admin"
            await say(bob, "response_chunk", request_id="a", content="I too")
            error = await said_until(bob, "error")
            assert (error["code"], error["by"]) == ("not_allowed", "ann@admin")
            for word in ("Hello", ", ", "world"):
                await say(ann, "response_chunk", request_id="a", content=word)
            function = {"name": "weather", "arguments": '{"city": "Oslo"}'}
            call = {"id": "call_1", "function": function}
            await say(ann, "add_tool_call", request_id="a", tool_call=call)
            await say(ann, "finish_response", request_id="a")
            done = await said_until(bob, "request_decided")
            assert (done["action"], done["by"]) == ("answer", "ann@admin")
            [choice] = exchange.text.choices
            assert choice.parts == (
                Text(text="Hello, world"),
                ToolCall(id="call_1", name="weather", arguments='{"city": "Oslo"}'),
            )
            assert exchange.reason == "tool_calls"

    run(story())


def test_the_first_decision_wins_and_everybody_sees_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            token = await one.log_in()
            lines = [await one.socket(token, f"&operator=op{n}") for n in range(4)]
            for line in lines:
                await said(line)
            names = [f"c{n}" for n in range(25)]
            exchanges = {name: one.desk.offer(card(name, text=name)) for name in names}
            digests = {name: one.desk.queue.view(name).digest for name in names}

            async def approve_all(line: Any) -> None:
                for name in random.Random(0).sample(names, len(names)):
                    await say(line, "approve_request", request_id=name, digest=digests[name])

            await asyncio.gather(*map(approve_all, lines))
            late = 0
            for line in lines:
                await say(line, "check_edit", request_id="last", document="")
                decided, ended = set[str](), False
                while len(decided) < len(names) or not ended:
                    message = await said(line)
                    data = message["data"]
                    if message["type"] == "request_decided":
                        decided.add(data["request_id"])
                    elif message["type"] == "error" and data["request_id"] == "last":
                        ended = True
                    elif message["type"] == "error":
                        assert data["code"] == "already_decided"
                        assert (data["by"][:2], data["action"]) == ("op", "approve")
                        late += 1
            assert late == 3 * len(names)
            assert all(exchange.decisions == [FORWARD] for exchange in exchanges.values())

    run(story())


def test_who_loses_the_connection_stops_writing(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            token = await one.log_in()
            ann, bob = await one.socket(token, "&operator=ann"), await one.socket(token)
            await said(ann)
            exchange = one.desk.offer(card("a"))
            await say(ann, "start_response", request_id="a")
            await say(ann, "response_chunk", request_id="a", content="Half a")
            assert (await said_until(bob, "request_updated"))["writer"] == "ann@admin"
            ann.close()
            assert (await said_until(bob, "request_decided"))["by"] == "ann@admin"
            assert exchange.reason == "stop"

    run(story())


def test_who_does_not_read_is_dropped_and_nobody_else_waits(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            token = await one.log_in()
            quick = await one.socket(token)
            reader, writer = await asyncio.open_connection("127.0.0.1", one.port, limit=1024)
            writer.write(
                f"GET /ws?token={token} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            assert b"101" in await reader.readline()
            while (await said_until(quick, "stats_update"))["operators"] != 2:
                pass
            long = "x" * 4000
            for n in range(3 * MOST_WAITING):
                name = f"c{n}"
                message = Message(role="user", parts=(Text(text=long),) * 12)
                one.desk.offer(card(name, request=request(messages=(message,))))
                assert (await said_until(quick, "new_request"))["request_id"] == name
                one.desk.queue.cancel(name, "over")
                if one.desk.queue.stats().operators == 1:
                    break
            assert one.desk.queue.stats().operators == 1
            writer.close()

    run(story())


def test_not_more_connections_than_can_be_served(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            token = await one.log_in()
            for _ in range(MOST_LINES_OF_ADDRESS):
                await said(await one.socket(token))
            assert await closed(await one.socket(token)) == 1013
            one.sockets[0].close()
            await closed(one.sockets[0])
            for _ in range(100):
                await asyncio.sleep(0)
            assert (await said(await one.socket(token)))["type"] == "snapshot"

    run(story())


def test_the_shutdown_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            token = await one.log_in()
            line = await one.socket(token)
            one.desk.offer(card("a"))
            await said_until(line, "new_request")
            one.desk.queue.close("the proxy shuts down")
            one.server.done()
            assert (await said_until(line, "request_decided"))["action"] == "shutdown"
            assert await closed(line) == 1001

    run(story())


# The schema.


def test_the_schema_is_what_a_session_says(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            token = await one.log_in()
            schema = json.loads((await one.ask("GET", f"{API}/schema", token=token)).body)
            told, heard = schema["messages"]["outgoing"], schema["messages"]["incoming"]
            line = await one.socket(token)
            messages: list[dict[str, Any]] = [await said(line)]
            assert_fits(messages[0], told)
            one.desk.offer(card("a", model="m", tokens=7, cost_usd=0.25, verdicts=("loop",)))
            one.desk.offer(call_card("t"))
            one.desk.offer(response_card("r"))
            one.desk.offer(card("b", reason="by hand"))
            digest = one.desk.queue.view("a").digest
            wishes: list[tuple[str, dict[str, Any]]] = [
                ("approve_request", {"request_id": "a", "digest": digest, "minutes": 2}),
                ("approve_request", {"request_id": "a", "digest": digest}),
                ("check_edit", {"request_id": "b", "document": "dear"}),
                ("edit_request", {"request_id": "r", "digest": "x", "document": "d"}),
                ("reject_request", {"request_id": "t", "reason": "no", "form": "tool_result"}),
                ("complete_response", {"request_id": "r", "content": "x", "tool_calls": []}),
                ("start_response", {"request_id": "b"}),
                ("response_chunk", {"request_id": "b", "reasoning": "hm", "content": "x"}),
                (
                    "add_tool_call",
                    {"request_id": "b", "tool_call": {"function": {"name": "weather"}}},
                ),
                ("finish_response", {"request_id": "b", "finish_reason": "stop"}),
                ("nonsense", {}),
            ]
            for kind, data in wishes:
                fits = not faults({"type": kind, "data": data}, heard, heard)
                assert fits == (kind != "nonsense"), kind
                await say(line, kind, **data)
            one.desk.offer(card("z", reason="by hand"))
            await say(line, "check_edit", request_id="z", document="the end")
            while (
                messages[-1]["data"].get("request_id") != "z" or messages[-1]["type"] != "checked"
            ):
                messages.append(await said(line))
                assert_fits(messages[-1], told)
            seen = Counter(message["type"] for message in messages)
            expected = {"snapshot", "new_request", "request_updated", "request_decided"}
            assert seen.keys() >= expected | {"stats_update", "error", "checked"}
            one.desk.queue.cancel("z", "gone")
            while messages[-1]["type"] != "request_cancelled":
                messages.append(await said(line))
                assert_fits(messages[-1], told)
            await rest_fits(one, token, schema["openapi"])
            assert_whole(schema["asyncapi"])
            assert_whole(schema["openapi"])
            assert set(schema["asyncapi"]["channels"]["desk"]["messages"]) == set(
                schema["asyncapi"]["components"]["messages"]
            )

    run(story())


def assert_fits(message: dict[str, Any], schema: dict[str, Any]) -> None:
    found = faults(message, schema, schema)
    assert not found, (message, found)


async def rest_fits(one: Served, token: str, openapi: dict[str, Any]) -> None:
    """Every GET of the document is asked, and its answer is what the document says."""
    one.desk.offer(card("q", reason="by hand"))
    asked = 0
    for path, operations in openapi["paths"].items():
        if "get" not in operations:
            continue
        name = {"/llm/api/v1/history/{id}": "r"}.get(path, "q")
        told = await one.ask("GET", path.replace("{id}", name), token=token)
        schema = operations["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert told.code == 200, (path, told.body)
        assert faults(json.loads(told.body), schema, openapi) == [], path
        asked += 1
    assert asked >= 9
    problem = {"$ref": "#/components/schemas/ProblemBody"}
    for path in ("requests/none", "nothing", "history/none", "requests/none/tools"):
        told = await one.ask("GET", f"{API}/{path}", token=token)
        assert told.code == 404
        assert faults(json.loads(told.body), problem, openapi) == []


def assert_whole(document: dict[str, Any]) -> None:
    """Every reference leads somewhere."""
    for reference in references(document):
        target: Any = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]


def references(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            if name == "$ref":
                yield each
            else:
                yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


# A fuzz: whatever comes in, an error in words goes out, and the queue stays what it is.

WORDS: list[Any] = [
    *(None, True, False, 0, -1, 1e308, 2**70, "", "x", "a", "b", "c", "\0", "\ud800", "🦊" * 50),
    *([], {}, [[]], {"a": {}}, "stop", "tool_result", "weather", '{"city": 1}', "__class__"),
]
KINDS = (
    *("complete_response", "start_response", "response_chunk", "add_tool_call"),
    *("finish_response", "reject_request", "approve_request", "edit_request", "check_edit"),
    *("snapshot", "error", "", "new_request"),
)
FIELDS = (
    *("request_id", "digest", "content", "reasoning", "tool_calls", "finish_reason", "note"),
    *("reason", "form", "minutes", "document", "anyway", "tool_call", "type", "data"),
)


def bent(roll: random.Random, digests: list[str]) -> Any:
    """A message that may be right, wrong in one place, or nothing at all."""
    values = [*WORDS, *digests, *digests]
    data: Any = {name: roll.choice(values) for name in roll.sample(FIELDS, roll.randint(0, 6))}
    if roll.random() < 0.8:
        data["request_id"] = roll.choice(["a", "b", "c", "t", "r", "none"])
    if roll.random() < 0.4:
        data["tool_call"] = {"function": {"name": roll.choice(["weather", "patch", 7])}}
    if roll.random() < 0.4:
        data["content"] = "some text"
    message: Any = {"type": roll.choice(KINDS), "data": data}
    if roll.random() < 0.1:
        message = roll.choice([data, [message], roll.choice(WORDS), {"type": message}])
    return message


def wire(roll: random.Random, message: Any) -> str:
    """Its text, sometimes broken."""
    text = json.dumps(message)
    if roll.random() < 0.1:
        cut = roll.randrange(len(text) + 1)
        text = text[:cut] + roll.choice(["", "}", "\0", "[" * 3000, "NaN"]) + text[cut:][::-1]
    return text


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_over_the_websocket_is_answered(tmp_path: Path, seed: int) -> None:
    async def story() -> None:
        roll = random.Random(seed)
        async with served(tmp_path) as one:
            token = await one.log_in()
            told = await one.ask("GET", f"{API}/schema", token=token)
            schema = json.loads(told.body)["messages"]["outgoing"]
            line = await one.socket(token)
            assert (await said(line))["type"] == "snapshot"
            count = 0
            codes: Counter[str] = Counter()
            for round_ in range(60):
                offer_again(one, round_)
                digests = [view.digest for view in one.desk.queue.views()]
                for _ in range(10):
                    one.later(1)
                    await line.write_message(wire(roll, bent(roll, digests)))
                await say(line, "check_edit", request_id=f"mark{count}", document="")
                while True:
                    message = await said(line)
                    assert_fits(message, schema)
                    if message["type"] != "error":
                        continue
                    error = message["data"]
                    codes[error["code"]] += 1
                    assert error["message"]
                    if error["request_id"] == f"mark{count}":
                        break
                count += 1
                sound(one)
            assert {"invalid", "not_found", "already_decided", "stale"} <= codes.keys()
            assert not [text for text in one.heard.lines if "Traceback" in text or "500" in text]

    run(story())


@pytest.mark.parametrize("seed", range(3))
def test_whatever_comes_over_rest_is_answered(tmp_path: Path, seed: int) -> None:
    async def story() -> None:
        roll = random.Random(seed)
        async with served(tmp_path) as one:
            token = await one.log_in()
            codes: Counter[int] = Counter()
            actions = [
                "approve",
                "edit",
                "check",
                "answer",
                "reject",
                "start",
                "chunk",
                "tool_call",
                "finish",
                "tools",
            ]
            for n in range(250):
                one.later(1)
                if n % 10 == 0:
                    offer_again(one, n)
                digests = [view.digest for view in one.desk.queue.views()]
                message = bent(roll, digests)
                body = message.get("data", message) if isinstance(message, dict) else message
                name = roll.choice(["a", "b", "c", "t", "r", "none", "%00", "..", "%ff", "a%2fb"])
                path = f"{API}/requests/{name}/{roll.choice(actions)}"
                path = roll.choice([path] * 9 + [f"{API}/{roll.choice(actions)}//", f"{API}/%"])
                method = roll.choice(["POST"] * 12 + ["GET", "DELETE", "PUT", "PATCH"])
                told = await one.ask(method, path, token=token, raw=wire(roll, body).encode())
                codes[told.code] += 1
                answer = json.loads(told.body)
                assert told.code < 500, (method, path, body, told.body)
                if told.code >= 400:
                    assert answer["error"]["message"]
                    assert answer["error"]["code"]
                sound(one)
            assert codes.keys() >= {200, 404, 405, 409, 422}

    run(story())


def offer_again(one: Served, round_: int) -> None:
    """What is over is asked again."""
    waiting = {each.id for each in one.desk.queue.waiting()}
    made = {"a": card, "b": card, "c": card, "t": call_card, "r": response_card}
    for name, make in made.items():
        if name not in waiting:
            shown = make(name, same=f"{name}{round_}", deadline_s=1e12, reason=f"{round_}")
            exchange = one.desk.offer(shown)
            one.exchanges.append(exchange)


def sound(one: Served) -> None:
    """No exchange was decided twice (it says so itself), and the figures are those of the table."""
    queue = one.desk.queue
    stats = queue.stats()
    assert stats.waiting == len(queue.waiting()) == len(queue.views())
    over = [each for each in one.exchanges if each.over]
    assert len(one.exchanges) - len(over) == stats.waiting
    assert sum(stats.decided.values()) == len(over)
