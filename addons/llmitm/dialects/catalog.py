"""The wire protocols llmitm speaks, by name: one line each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from llmitm.dialects.anthropic_messages import DIALECT as ANTHROPIC_MESSAGES
from llmitm.dialects.contract import Dialect
from llmitm.dialects.gemini_generate import CODE_ASSIST as GEMINI_CODE_ASSIST
from llmitm.dialects.gemini_generate import DIALECT as GEMINI_GENERATE
from llmitm.dialects.openai_chat import DIALECT as OPENAI_CHAT
from llmitm.dialects.openai_responses import DIALECT as OPENAI_RESPONSES

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        dialect.name: dialect
        for dialect in (
            OPENAI_CHAT,
            OPENAI_RESPONSES,
            ANTHROPIC_MESSAGES,
            GEMINI_GENERATE,
            GEMINI_CODE_ASSIST,
        )
    }
)
