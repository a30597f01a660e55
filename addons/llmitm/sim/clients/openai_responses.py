"""OpenAI Responses with the official SDK and its defaults, as a program.

`python openai_responses.py --model M --prompt P [--stream] [--tools] [--base-url URL]`.
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
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
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
            self.usage["input"] += usage.input_tokens
            self.usage["output"] += usage.output_tokens

    def line(self) -> str:
        """The JSON line."""
        value = asdict(self)
        del value["started"]
        return json.dumps(value, ensure_ascii=False)


class StreamFailed(Exception):
    """The stream told an error, which this SDK hands over as an event."""


def whole(client: Any, asked: dict[str, Any], out: Outcome) -> Any:
    """One unstreamed round: the response."""
    answer = client.responses.create(**asked)
    out.chunk()
    return answer


def streamed(client: Any, asked: dict[str, Any], out: Outcome) -> Any:
    """One streamed round: the response of the closing event."""
    last: Any = None
    heard = ""
    for event in client.responses.create(stream=True, **asked):
        out.chunk()
        if event.type == "response.output_text.delta":
            heard += event.delta
        elif event.type == "error":
            raise StreamFailed(f"{event.code}: {event.message}")
        elif event.type in {"response.completed", "response.incomplete", "response.failed"}:
            last = event.response
    if last is None:
        raise EOFError("the stream ended without a closing event")
    if last.output_text != heard:
        raise StreamFailed("the deltas do not add up to the final text")
    return last


def converse(args: argparse.Namespace, out: Outcome) -> None:
    """Asks, runs tools, asks again, until there is a text."""
    client: Any = openai.OpenAI(base_url=args.base_url) if args.base_url else openai.OpenAI()
    turns: list[Any] = [{"role": "user", "content": args.prompt}]
    asked: dict[str, Any] = {"model": args.model, "input": turns}
    if args.tools:
        asked["tools"] = TOOLS
    out.started = time.perf_counter()
    for _ in range(MAX_ROUNDS):
        answer = (streamed if args.stream else whole)(client, asked, out)
        if answer.error is not None:
            raise StreamFailed(f"{answer.error.code}: {answer.error.message}")
        out.spend(answer.usage)
        out.finish = answer.status
        if answer.incomplete_details is not None:
            out.finish = answer.incomplete_details.reason
        turns += [item.model_dump(exclude_none=True) for item in answer.output]
        calls = [item for item in answer.output if item.type == "function_call"]
        if not calls:
            out.text = answer.output_text
            return
        for call in calls:
            told = {"id": call.call_id, "name": call.name, "arguments": call.arguments}
            out.tool_calls.append(told)
            result = get_weather(**json.loads(call.arguments))
            turns.append(
                {"type": "function_call_output", "call_id": call.call_id, "output": result}
            )
    raise RuntimeError(f"still calling tools after {MAX_ROUNDS} rounds")


def main() -> int:
    """Runs the program; its exit code."""
    parser = argparse.ArgumentParser(description="OpenAI Responses with the official SDK")
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
