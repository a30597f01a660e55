"""OpenAI Chat Completions (`POST /v1/chat/completions`) and the many dialects of it."""

from __future__ import annotations

from llmitm.dialects.contract import Dialect
from llmitm.dialects.openai_chat.encoder import ChatStreamEncoder
from llmitm.dialects.openai_chat.faults import encode_error
from llmitm.dialects.openai_chat.patch import patch_request
from llmitm.dialects.openai_chat.request import decode_request, encode_request
from llmitm.dialects.openai_chat.response import decode_response, encode_response
from llmitm.dialects.openai_chat.stream import stream_decoder
from llmitm.dialects.openai_chat.tables import NAME, TELLING
from llmitm.dialects.openai_models import encode_model, extend_models, read_models

__all__ = ["DIALECT"]

DIALECT = Dialect(
    name=NAME,
    decode_request=decode_request,
    encode_request=encode_request,
    patch_request=patch_request,
    decode_response=decode_response,
    encode_response=encode_response,
    stream_decoder=stream_decoder,
    stream_encoder=ChatStreamEncoder,
    encode_error=encode_error,
    telling=TELLING,
    read_models=read_models,
    extend_models=extend_models,
    encode_model=encode_model,
)
