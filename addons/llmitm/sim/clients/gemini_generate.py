"""Gemini generateContent with the official SDK and its defaults, as a program.

`python gemini_generate.py --model M --prompt P [--stream] [--tools] [--base-url URL]`.
Credentials, proxy and CA come from the environment alone (GEMINI_API_KEY, HTTPS_PROXY,
SSL_CERT_FILE). With --tools it offers `get_weather(city)`, answers calls itself and goes on until
there is a text. Prints one JSON line; exit code 0 if all went well, else 1. Needs: google-genai.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any

from google import genai
from google.genai import types

MAX_ROUNDS = 6
WEATHER = types.FunctionDeclaration(
    name="get_weather",
    description="The weather in a city",
    parameters_json_schema={
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
)


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
            status = getattr(error, "code", None)
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
            self.usage["input"] += usage.prompt_token_count or 0
            counted = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
            self.usage["output"] += counted

    def line(self) -> str:
        """The JSON line."""
        value = asdict(self)
        del value["started"]
        return json.dumps(value, ensure_ascii=False)


def rounds(client: Any, asked: dict[str, Any], out: Outcome, *, stream: bool) -> list[Any]:
    """One round: the parts of the answer."""
    ask = client.models.generate_content_stream
    answers: Any = ask(**asked) if stream else [client.models.generate_content(**asked)]
    parts, usage = list[Any](), None
    out.finish = None
    for answer in answers:
        out.chunk()
        usage = answer.usage_metadata or usage
        candidates: list[Any] = answer.candidates or []
        for candidate in candidates:
            if candidate.content and candidate.content.parts:
                parts += candidate.content.parts
            if candidate.finish_reason:
                out.finish = candidate.finish_reason.value
    out.spend(usage)
    if out.finish is None:
        raise EOFError("the answer ended without a finish reason")
    return parts


def converse(args: argparse.Namespace, out: Outcome) -> None:
    """Asks, runs tools, asks again, until there is a text."""
    options = types.HttpOptions(base_url=args.base_url) if args.base_url else None
    client: Any = genai.Client(http_options=options) if options else genai.Client()
    turns: list[Any] = [types.Content(role="user", parts=[types.Part(text=args.prompt)])]
    asked: dict[str, Any] = {"model": args.model, "contents": turns}
    if args.tools:
        tool = types.Tool(function_declarations=[WEATHER])
        asked["config"] = types.GenerateContentConfig(tools=[tool])
    out.started = time.perf_counter()
    for _ in range(MAX_ROUNDS):
        parts = rounds(client, asked, out, stream=args.stream)
        turns.append(types.Content(role="model", parts=parts))
        calls = [part.function_call for part in parts if part.function_call]
        if not calls:
            out.text = "".join(part.text for part in parts if part.text and not part.thought)
            return
        results = list[Any]()
        for call in calls:
            given = json.dumps(call.args, ensure_ascii=False)
            out.tool_calls.append({"id": call.id or "", "name": call.name, "arguments": given})
            answer = {"result": get_weather(**call.args)}
            reply = types.FunctionResponse(id=call.id, name=call.name, response=answer)
            results.append(types.Part(function_response=reply))
        turns.append(types.Content(role="user", parts=results))
    raise RuntimeError(f"still calling tools after {MAX_ROUNDS} rounds")


def main() -> int:
    """Runs the program; its exit code."""
    parser = argparse.ArgumentParser(description="Gemini generateContent with the official SDK")
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
