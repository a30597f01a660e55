"""The closed list of features whose loss is told: `Loss.feature` is one of these names.

A protocol's own extra fields are all `field` with the path saying which.
"""

from __future__ import annotations

from types import MappingProxyType

FEATURES = MappingProxyType(
    {
        "instructions": "system text outside the messages",
        "message.name": "the name of a message's author",
        "message.role": "a role the target does not have (developer, system in mid-conversation)",
        "part.image": "an image, or the way it is given (URL, base64, file id)",
        "part.image.detail": "how closely an image should be looked at",
        "part.audio": "audio",
        "part.video": "video",
        "part.document": "a document, or the way it is given",
        "part.annotations": "citations and annotations of a text",
        "part.logprobs": "token log probabilities",
        "part.reasoning": "readable reasoning",
        "part.reasoning.signature": "the proof or the encrypted form of reasoning",
        "part.refusal": "a refusal as a part of its own",
        "part.unknown": "a block of a kind only its own protocol knows",
        "tool_call.custom": "a call with free text instead of JSON arguments",
        "tool_call.arguments": "arguments that are not a JSON object",
        "tool_result.error": "the mark that a tool failed",
        "tool_result.media": "images or documents in a tool's result",
        "tool.custom": "a tool that takes free text",
        "tool.server": "a tool that the provider runs",
        "tool.strict": "strict checking of a tool's arguments",
        "tool_choice": "a choice of tools the target cannot say",
        "parallel_tool_calls": "whether several calls may be made at once",
        "sampling.temperature": "temperature, or a value out of the target's range",
        "sampling.top_p": "nucleus sampling",
        "sampling.top_k": "top-k sampling",
        "sampling.frequency_penalty": "frequency penalty",
        "sampling.presence_penalty": "presence penalty",
        "sampling.seed": "seed",
        "sampling.max_tokens": "the output limit",
        "sampling.stop": "stop sequences",
        "sampling.n": "several answers to one request",
        "sampling.logprobs": "the wish for log probabilities",
        "reasoning.effort": "reasoning effort",
        "reasoning.budget_tokens": "a budget for reasoning in tokens",
        "reasoning.mode": "reasoning switched on, off or adaptive",
        "reasoning.show": "how reasoning is shown",
        "verbosity": "how long answers are to be",
        "response_format": "a form the answer must have",
        "previous_response_id": "an earlier answer kept by the provider",
        "choices": "answers after the first",
        "finish.reason": "a finish reason the target has no word for",
        "finish.stop_sequence": "which stop sequence was hit",
        "usage": "a token count the target has no field for",
        "event.unknown": "a stream event only its own protocol knows",
        "field": "a field only its own protocol knows",
    }
)
