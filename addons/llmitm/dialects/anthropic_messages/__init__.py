"""Anthropic Messages (`POST /v1/messages`), both ways, whole and streamed.

Source: Anthropic API reference, Messages.
"""

from __future__ import annotations

from llmitm.dialects.anthropic_messages.models import encode_model, extend_models, read_models
from llmitm.dialects.anthropic_messages.request import (
    decode_request,
    encode_request,
    patch_request,
)
from llmitm.dialects.anthropic_messages.response import (
    decode_response,
    encode_error,
    encode_response,
)
from llmitm.dialects.anthropic_messages.stream import stream_decoder
from llmitm.dialects.anthropic_messages.tables import NAME, TELLING
from llmitm.dialects.anthropic_messages.writer import SseEncoder
from llmitm.dialects.contract import Dialect

DIALECT = Dialect(
    name=NAME,
    decode_request=decode_request,
    encode_request=encode_request,
    patch_request=patch_request,
    decode_response=decode_response,
    encode_response=encode_response,
    stream_decoder=stream_decoder,
    stream_encoder=SseEncoder,
    encode_error=encode_error,
    telling=TELLING,
    read_models=read_models,
    extend_models=extend_models,
    encode_model=encode_model,
)
