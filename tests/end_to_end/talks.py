"""Whole conversations with tools, held by the official SDKs as their users hold them: what an
answer said goes back as the SDK gave it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
from google import genai
from google.genai import types
from proxied import Proxied, trusting
from sdks import SCHEMA


@dataclass
class Talk(ABC):
    """One conversation of one client. history: in the client's own protocol; calls: of the last
    answer; tool, schema: the one tool on offer."""

    proxied: Proxied
    stream: bool
    key: str = "sk-client"
    history: list[Any] = field(default_factory=list)
    calls: list[Any] = field(default_factory=list)
    tool: str = "get_weather"
    schema: dict[str, Any] = field(default_factory=lambda: SCHEMA)

    @abstractmethod
    def say(self, model: str, text: str) -> None:
        """One turn of the user and the answer to it."""

    @abstractmethod
    def results(self, model: str, text: str) -> None:
        """The same result for every call of the last answer, and the answer to that."""


class ChatTalk(Talk):
    def say(self, model: str, text: str) -> None:
        self.history.append({"role": "user", "content": text})
        self._ask(model)

    def results(self, model: str, text: str) -> None:
        self.history += [
            {"role": "tool", "tool_call_id": call.id, "content": text} for call in self.calls
        ]
        self._ask(model)

    def _ask(self, model: str) -> None:
        function = {"name": self.tool, "description": "Weather", "parameters": self.schema}
        tools: Any = [{"type": "function", "function": function}]
        asked = {"model": model, "messages": self.history, "tools": tools}
        http = self.proxied.sdk_client()
        with openai.OpenAI(api_key=self.key, http_client=http, max_retries=0) as client:
            if self.stream:
                with client.chat.completions.stream(**asked) as events:
                    message: Any = events.get_final_completion().choices[0].message
            else:
                message = client.chat.completions.create(**asked).choices[0].message
        self.calls = message.tool_calls or []
        said = {"role": "assistant", "content": message.content}
        if self.calls:
            said["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {
                        "name": call.function.name,
                        "arguments": call.function.arguments,
                    },
                }
                for call in self.calls
            ]
        self.history.append(said)


class ResponsesTalk(Talk):
    def say(self, model: str, text: str) -> None:
        self.history.append({"role": "user", "content": text})
        self._ask(model)

    def results(self, model: str, text: str) -> None:
        self.history += [
            {"type": "function_call_output", "call_id": call.call_id, "output": text}
            for call in self.calls
        ]
        self._ask(model)

    def _ask(self, model: str) -> None:
        tool = {"type": "function", "name": self.tool, "parameters": self.schema, "strict": False}
        asked: Any = {"model": model, "input": self.history, "tools": [tool], "store": False}
        http = self.proxied.sdk_client()
        with openai.OpenAI(api_key=self.key, http_client=http, max_retries=0) as client:
            if self.stream:
                with client.responses.stream(**asked) as events:
                    answer: Any = events.get_final_response()
            else:
                answer = client.responses.create(**asked)
        self.calls = [item for item in answer.output if item.type == "function_call"]
        self.history += [item.model_dump(exclude_none=True) for item in answer.output]


class MessagesTalk(Talk):
    def say(self, model: str, text: str) -> None:
        self.history.append({"role": "user", "content": text})
        self._ask(model)

    def results(self, model: str, text: str) -> None:
        content = [
            {"type": "tool_result", "tool_use_id": call.id, "content": text} for call in self.calls
        ]
        self.history.append({"role": "user", "content": content})
        self._ask(model)

    def _ask(self, model: str) -> None:
        tool = {"name": self.tool, "description": "Weather", "input_schema": self.schema}
        asked: Any = {
            "model": model,
            "max_tokens": 1000,
            "messages": self.history,
            "tools": [tool],
        }
        http = self.proxied.sdk_client()
        client = anthropic.Anthropic(api_key=self.key, http_client=http, max_retries=0)
        with client:
            if self.stream:
                with client.messages.stream(**asked) as events:
                    answer: Any = events.get_final_message()
            else:
                answer = client.messages.create(**asked)
        self.calls = [block for block in answer.content if block.type == "tool_use"]
        content = [block.model_dump(exclude_none=True) for block in answer.content]
        for block in content:
            # Only the SDK's own: the API takes no parsed text back.
            block.pop("parsed_output", None)
        self.history.append({"role": "assistant", "content": content})


class GeminiTalk(Talk):
    def say(self, model: str, text: str) -> None:
        self.history.append(types.Content(role="user", parts=[types.Part(text=text)]))
        self._ask(model)

    def results(self, model: str, text: str) -> None:
        parts = [
            types.Part(
                function_response=types.FunctionResponse(
                    id=call.id, name=call.name, response={"output": text}
                )
            )
            for call in self.calls
        ]
        self.history.append(types.Content(role="user", parts=parts))
        self._ask(model)

    def _ask(self, model: str) -> None:
        declared = types.FunctionDeclaration(name=self.tool, parameters_json_schema=self.schema)
        config = types.GenerateContentConfig(
            tools=[types.Tool(function_declarations=[declared])],
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )
        options = types.HttpOptions(
            client_args={"proxy": self.proxied.url, "verify": trusting(self.proxied.proxy.ca)}
        )
        client = genai.Client(api_key=self.key, http_options=options)
        asked: Any = {"model": model, "contents": self.history, "config": config}
        if self.stream:
            chunks = list(client.models.generate_content_stream(**asked))
        else:
            chunks = [client.models.generate_content(**asked)]
        contents = [
            candidate.content
            for chunk in chunks
            for candidate in chunk.candidates or ()
            if candidate.content is not None and candidate.content.parts
        ]
        # As the SDK's own chat keeps a streamed answer: chunk by chunk.
        self.history += contents
        self.calls = [
            part.function_call
            for content in contents
            for part in content.parts or ()
            if part.function_call
        ]


TALKS: dict[str, type[Talk]] = {
    "openai_chat": ChatTalk,
    "openai_responses": ResponsesTalk,
    "anthropic_messages": MessagesTalk,
    "gemini_generate": GeminiTalk,
}
