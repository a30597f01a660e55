"""A chat as each official SDK holds it: the client keeps the history and replays it whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
from google import genai
from google.genai import types
from proxied import Proxied, trusting


@dataclass
class Chat:
    """One conversation of one client. `say` sends the next user message and keeps the answer."""

    proxied: Proxied
    protocol: str
    stream: bool = True
    model: str = "sim-text"
    key: str = "sk-client"
    history: list[Any] = field(default_factory=list)
    last_id: str | None = None

    def say(self, text: str) -> str:
        """The answer's text; raises what the SDK raises."""
        return getattr(self, f"_{self.protocol}")(text)

    def _client(self) -> openai.OpenAI:
        return openai.OpenAI(api_key=self.key, http_client=self.proxied.sdk_client(), max_retries=0)

    def _openai_chat(self, text: str) -> str:
        self.history.append({"role": "user", "content": text})
        with self._client() as client:
            if self.stream:
                with client.chat.completions.stream(
                    model=self.model, messages=self.history
                ) as events:
                    answer: Any = events.get_final_completion()
            else:
                answer = client.chat.completions.create(model=self.model, messages=self.history)
        said = answer.choices[0].message.content or ""
        self.history.append({"role": "assistant", "content": said})
        return said

    def _openai_responses(self, text: str) -> str:
        self.history.append({"role": "user", "content": text})
        answer = self._responded(input=self.history)
        self.history += [item.model_dump(exclude_none=True) for item in answer.output]
        return answer.output_text

    def chained(self, text: str) -> str:
        """Responses with the history kept by the provider: `previous_response_id`."""
        more = {"previous_response_id": self.last_id} if self.last_id else {}
        answer = self._responded(input=text, **more)
        self.last_id = answer.id
        return answer.output_text

    def _responded(self, **asked: Any) -> Any:
        with self._client() as client:
            if self.stream:
                with client.responses.stream(model=self.model, **asked) as events:
                    return events.get_final_response()
            return client.responses.create(model=self.model, **asked)

    def _anthropic_messages(self, text: str) -> str:
        self.history.append({"role": "user", "content": [{"type": "text", "text": text}]})
        client = anthropic.Anthropic(
            api_key=self.key, http_client=self.proxied.sdk_client(), max_retries=0
        )
        asked: Any = {"model": self.model, "max_tokens": 1000, "messages": self.history}
        with client:
            if self.stream:
                with client.messages.stream(**asked) as events:
                    answer = events.get_final_message()
            else:
                answer = client.messages.create(**asked)
        content = [block.model_dump(exclude_none=True) for block in answer.content]
        for block in content:
            block.pop("parsed_output", None)
        self.history.append({"role": "assistant", "content": content})
        return "".join(block.text for block in answer.content if block.type == "text")

    def _gemini_generate(self, text: str) -> str:
        self.history.append(types.Content(role="user", parts=[types.Part(text=text)]))
        options = types.HttpOptions(
            client_args={
                "proxy": self.proxied.url,
                "verify": trusting(self.proxied.proxy.ca),
            }
        )
        client = genai.Client(api_key=self.key, http_options=options)
        if self.stream:
            chunks = list(
                client.models.generate_content_stream(model=self.model, contents=self.history)
            )
        else:
            chunks = [client.models.generate_content(model=self.model, contents=self.history)]
        parts = [
            part
            for chunk in chunks
            for candidate in chunk.candidates or ()
            for part in (candidate.content and candidate.content.parts) or ()
        ]
        said = "".join(part.text or "" for part in parts)
        self.history.append(types.Content(role="model", parts=[types.Part(text=said)]))
        return said
