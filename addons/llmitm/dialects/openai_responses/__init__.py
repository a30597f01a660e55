"""The OpenAI Responses protocol, over HTTP and (frame by frame) over a WebSocket."""

from __future__ import annotations

from llmitm.dialects.contract import Dialect
from llmitm.dialects.openai_models import encode_model, extend_models, read_models
from llmitm.dialects.openai_responses.request import decode_request, encode_request, patch_request
from llmitm.dialects.openai_responses.response import (
    decode_response,
    encode_error,
    encode_response,
)
from llmitm.dialects.openai_responses.stream import stream_decoder, stream_encoder
from llmitm.dialects.openai_responses.tables import NAME, TELLING

DIALECT = Dialect(
    name=NAME,
    decode_request=decode_request,
    encode_request=encode_request,
    patch_request=patch_request,
    decode_response=decode_response,
    encode_response=encode_response,
    stream_decoder=stream_decoder,
    stream_encoder=stream_encoder,
    encode_error=encode_error,
    telling=TELLING,
    repeats=True,
    read_models=read_models,
    extend_models=extend_models,
    encode_model=encode_model,
)
