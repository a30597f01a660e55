"""The wire protocols llmitm speaks, by name: one line each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from llmitm.dialects.anthropic_messages import DIALECT as ANTHROPIC_MESSAGES
from llmitm.dialects.bedrock_converse import DIALECT as BEDROCK_CONVERSE
from llmitm.dialects.bedrock_converse import invoke_dialect
from llmitm.dialects.contract import Dialect
from llmitm.dialects.gemini_generate import CODE_ASSIST as GEMINI_CODE_ASSIST
from llmitm.dialects.gemini_generate import DIALECT as GEMINI_GENERATE
from llmitm.dialects.ollama_chat import CHAT as OLLAMA_CHAT
from llmitm.dialects.ollama_chat import GENERATE as OLLAMA_GENERATE
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
            OLLAMA_CHAT,
            OLLAMA_GENERATE,
            BEDROCK_CONVERSE,
            invoke_dialect(ANTHROPIC_MESSAGES),
        )
    }
)
