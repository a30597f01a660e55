"""Anthropic Messages with the official SDK and its defaults, as a program.

`python anthropic_messages.py --model M --prompt P [--stream] [--tools] [--base-url URL]`.
Credentials, proxy and CA come from the environment alone (ANTHROPIC_API_KEY, HTTPS_PROXY,
SSL_CERT_FILE). With --tools it offers `get_weather(city)`, answers calls itself and goes on until
there is a text. Prints one JSON line; exit code 0 if all went well, else 1. Needs: anthropic.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any

import anthropic

MAX_ROUNDS = 6
MAX_TOKENS = 4096
TOOLS: Any = [
    {
        "name": "get_weather",
        "description": "The weather in a city",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
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
            before = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
            self.usage["input"] += usage.input_tokens + before
            self.usage["output"] += usage.output_tokens

    def line(self) -> str:
        """The JSON line."""
        value = asdict(self)
        del value["started"]
        return json.dumps(value, ensure_ascii=False)


def whole(client: Any, asked: dict[str, Any], out: Outcome) -> Any:
    """One unstreamed round: the message."""
    answer = client.messages.create(**asked)
    out.chunk()
    if answer.content is None:
        raise ValueError(f"an answer without content: {answer.model_extra}")
    return answer


def streamed(client: Any, asked: dict[str, Any], out: Outcome) -> Any:
    """One streamed round: the message that the SDK put together."""
    ended = False
    with client.messages.stream(**asked) as stream:
        for event in stream:
            out.chunk()
            ended = ended or event.type == "message_stop"
        if not ended:
            raise EOFError("the stream ended without message_stop")
        return stream.get_final_message()


def converse(args: argparse.Namespace, out: Outcome) -> None:
    """Asks, runs tools, asks again, until there is a text."""
    made = anthropic.Anthropic
    client: Any = made(base_url=args.base_url) if args.base_url else made()
    turns: list[Any] = [{"role": "user", "content": args.prompt}]
    asked: dict[str, Any] = {"model": args.model, "max_tokens": MAX_TOKENS, "messages": turns}
    if args.tools:
        asked["tools"] = TOOLS
    out.started = time.perf_counter()
    for _ in range(MAX_ROUNDS):
        answer = (streamed if args.stream else whole)(client, asked, out)
        out.spend(answer.usage)
        out.finish = answer.stop_reason
        blocks = [block.model_dump(exclude_none=True) for block in answer.content]
        turns.append({"role": "assistant", "content": blocks})
        calls = [block for block in answer.content if block.type == "tool_use"]
        if not calls:
            out.text = "".join(block.text for block in answer.content if block.type == "text")
            return
        results = list[Any]()
        for call in calls:
            given = json.dumps(call.input, ensure_ascii=False)
            out.tool_calls.append({"id": call.id, "name": call.name, "arguments": given})
            result = get_weather(**call.input)
            results.append({"type": "tool_result", "tool_use_id": call.id, "content": result})
        turns.append({"role": "user", "content": results})
    raise RuntimeError(f"still calling tools after {MAX_ROUNDS} rounds")


def main() -> int:
    """Runs the program; its exit code."""
    parser = argparse.ArgumentParser(description="Anthropic Messages with the official SDK")
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
