"""Ollama's native API, both ways: `POST /api/chat` and `POST /api/generate`, whole and as NDJSON.

`CHAT` is the call with messages, `GENERATE` the one with a prompt; their answers differ only in
where the text stands, and either decoder reads both.
Source: Ollama API reference.
"""

from __future__ import annotations

from functools import partial

from llmitm.dialects.contract import Dialect, Reply, StreamEncoder
from llmitm.dialects.ollama_chat.encoder import LineEncoder
from llmitm.dialects.ollama_chat.faults import encode_error
from llmitm.dialects.ollama_chat.models import extend_models, read_models
from llmitm.dialects.ollama_chat.patch import patch_request
from llmitm.dialects.ollama_chat.request import decode_request, encode_request
from llmitm.dialects.ollama_chat.response import encode_response
from llmitm.dialects.ollama_chat.stream import decode_response, stream_decoder
from llmitm.dialects.ollama_chat.tables import GENERATE_NAME, NAME, TELLING


def _dialect(name: str) -> Dialect:
    def encoder(reply: Reply) -> StreamEncoder:
        return LineEncoder(reply, name)

    return Dialect(
        name=name,
        decode_request=partial(decode_request, dialect=name),
        encode_request=partial(encode_request, target=name),
        patch_request=patch_request,
        decode_response=decode_response,
        encode_response=partial(encode_response, target=name),
        stream_decoder=stream_decoder,
        stream_encoder=encoder,
        encode_error=encode_error,
        telling=TELLING,
        read_models=read_models,
        extend_models=extend_models,
    )


CHAT = _dialect(NAME)
GENERATE = _dialect(GENERATE_NAME)
