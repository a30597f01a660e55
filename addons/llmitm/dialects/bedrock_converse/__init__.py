"""Bedrock: Converse and ConverseStream, both ways; Anthropic bodies in InvokeModel calls.

`DIALECT` is Converse; `invoke_dialect` puts another protocol's answers into InvokeModel's chunks.
Source: Amazon Bedrock API reference.
"""

from __future__ import annotations

from llmitm.dialects.bedrock_converse.encoder import ConverseEncoder
from llmitm.dialects.bedrock_converse.faults import encode_error
from llmitm.dialects.bedrock_converse.invoke import invoke_dialect
from llmitm.dialects.bedrock_converse.request import (
    decode_request,
    encode_request,
    patch_request,
)
from llmitm.dialects.bedrock_converse.response import decode_response, encode_response
from llmitm.dialects.bedrock_converse.stream import stream_decoder
from llmitm.dialects.bedrock_converse.tables import NAME, TELLING
from llmitm.dialects.contract import Dialect

__all__ = ["DIALECT", "invoke_dialect"]

DIALECT = Dialect(
    name=NAME,
    decode_request=decode_request,
    encode_request=encode_request,
    patch_request=patch_request,
    decode_response=decode_response,
    encode_response=encode_response,
    stream_decoder=stream_decoder,
    stream_encoder=ConverseEncoder,
    encode_error=encode_error,
    telling=TELLING,
)
