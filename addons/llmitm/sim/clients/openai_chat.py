"""OpenAI Chat Completions with the official SDK and its defaults, as a program.

`python openai_chat.py --model M --prompt P [--stream] [--tools] [--base-url URL]`.
Credentials, proxy and CA come from the environment alone (OPENAI_API_KEY, HTTPS_PROXY,
SSL_CERT_FILE). With --tools it offers `get_weather(city)`, answers calls itself and goes on until
there is a text. Prints one JSON line; exit code 0 if all went well, else 1. Needs: openai.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any

import openai

MAX_ROUNDS = 6
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]


def get_weather(city: str) -> str:
    """The tool: a fixed answer."""
    return f"18 degrees and sunny in {city}"


@dataclass
class Outcome:
    """What the program prints. As a context it takes any failure down instead of raising it."""

    ok: bool = False
    text: str = ""
    tool_calls: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    finish: str | None = None
    usage: dict[str, int] = field(default_factory=lambda: {"input": 0, "output": 0})
    chunks: int = 0
    first_byte_ms: float | None = None
    errors: dict[str, Any] | None = None
    started: float = field(default_factory=time.perf_counter)

    def __enter__(self) -> Outcome:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        if isinstance(error, Exception):
            status = getattr(error, "status_code", None)
            self.errors = {"type": type(error).__name__, "status": status, "message": str(error)}
        self.ok = error is None
        return isinstance(error, Exception)

    def chunk(self) -> None:
        """Something arrived."""
        self.chunks += 1
        if self.first_byte_ms is None:
            self.first_byte_ms = round((time.perf_counter() - self.started) * 1000, 3)

    def spend(self, usage: Any) -> None:
        """Adds one round's tokens; None = not told."""
        if usage is not None:
            self.usage["input"] += usage.prompt_tokens
            self.usage["output"] += usage.completion_tokens

    def line(self) -> str:
        """The JSON line."""
        value = asdict(self)
        del value["started"]
        return json.dumps(value, ensure_ascii=False)


def whole(client: Any, asked: dict[str, Any], out: Outcome) -> dict[str, Any]:
    """One unstreamed round: the assistant's message."""
    answer = client.chat.completions.create(**asked)
    out.chunk()
    if not answer.choices:
        raise ValueError(f"an answer without choices: {answer.model_extra}")
    out.spend(answer.usage)
    out.finish = answer.choices[0].finish_reason
    return answer.choices[0].message.model_dump(exclude_none=True)


def streamed(client: Any, asked: dict[str, Any], out: Outcome) -> dict[str, Any]:
    """One streamed round: the assistant's message, put together from its deltas."""
    text, calls = "", dict[int, dict[str, Any]]()
    options = {"include_usage": True}
    out.finish = None
    for chunk in client.chat.completions.create(stream=True, stream_options=options, **asked):
        out.chunk()
        out.spend(chunk.usage)
        choices: list[Any] = chunk.choices
        for choice in choices:
            text += choice.delta.content or ""
            deltas: list[Any] = choice.delta.tool_calls or []
            for delta in deltas:
                call = calls.setdefault(
                    delta.index, {"type": "function", "function": {"name": "", "arguments": ""}}
                )
                call["id"] = delta.id or call.get("id")
                if delta.function:
                    call["function"]["name"] += delta.function.name or ""
                    call["function"]["arguments"] += delta.function.arguments or ""
            out.finish = choice.finish_reason or out.finish
    if out.finish is None:
        raise EOFError("the stream ended without a finish reason")
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    return message


def converse(args: argparse.Namespace, out: Outcome) -> None:
    """Asks, runs tools, asks again, until there is a text."""
    client: Any = openai.OpenAI(base_url=args.base_url) if args.base_url else openai.OpenAI()
    asked: dict[str, Any] = {
        "model": args.model,
        "messages": [{"role": "user", "content": args.prompt}],
    }
    if args.tools:
        asked["tools"] = TOOLS
    out.started = time.perf_counter()
    for _ in range(MAX_ROUNDS):
        message = (streamed if args.stream else whole)(client, asked, out)
        asked["messages"].append(message)
        if not message.get("tool_calls"):
            out.text = message.get("content") or ""
            return
        for call in message["tool_calls"]:
            given = call["function"]["arguments"]
            name = call["function"]["name"]
            out.tool_calls.append({"id": call["id"], "name": name, "arguments": given})
            result = get_weather(**json.loads(given))
            asked["messages"].append(
                {"role": "tool", "tool_call_id": call["id"], "content": result}
            )
    raise RuntimeError(f"still calling tools after {MAX_ROUNDS} rounds")


def main() -> int:
    """Runs the program; its exit code."""
    parser = argparse.ArgumentParser(description="OpenAI Chat Completions with the official SDK")
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--tools", action="store_true")
    parser.add_argument("--base-url")
    args = parser.parse_args()
    with Outcome() as out:
        converse(args, out)
    sys.stdout.write(out.line() + "\n")
    return 0 if out.ok else 1


if __name__ == "__main__":
    sys.exit(main())
