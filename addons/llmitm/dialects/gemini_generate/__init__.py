"""Gemini: generateContent, streamGenerateContent and countTokens, plain, Vertex and Code Assist.

`DIALECT` is the plain form, `CODE_ASSIST` the one with the request under `request` and the answer
under `response`; both read either.
"""

from __future__ import annotations

from functools import partial

from llmitm.dialects.contract import Dialect
from llmitm.dialects.gemini_generate.faults import encode_error
from llmitm.dialects.gemini_generate.models import encode_model, extend_models, read_models
from llmitm.dialects.gemini_generate.patch import patch
from llmitm.dialects.gemini_generate.request import decode_request, encode_request
from llmitm.dialects.gemini_generate.response import decode_response, encode_response
from llmitm.dialects.gemini_generate.stream import code_assist_encoder, decoder, encoder
from llmitm.dialects.gemini_generate.tables import CODE_ASSIST_NAME, NAME, TELLING

DIALECT = Dialect(
    name=NAME,
    decode_request=partial(decode_request, dialect=NAME),
    encode_request=partial(encode_request, target=NAME),
    patch_request=partial(patch, target=NAME),
    decode_response=decode_response,
    encode_response=partial(encode_response, target=NAME),
    stream_decoder=decoder,
    stream_encoder=encoder,
    encode_error=encode_error,
    telling=TELLING,
    read_models=read_models,
    extend_models=extend_models,
    encode_model=encode_model,
)

CODE_ASSIST = Dialect(
    name=CODE_ASSIST_NAME,
    decode_request=partial(decode_request, dialect=CODE_ASSIST_NAME),
    encode_request=partial(encode_request, target=CODE_ASSIST_NAME),
    patch_request=partial(patch, target=CODE_ASSIST_NAME),
    decode_response=decode_response,
    encode_response=partial(encode_response, target=CODE_ASSIST_NAME),
    stream_decoder=decoder,
    stream_encoder=code_assist_encoder,
    encode_error=encode_error,
    telling=TELLING,
)
