"""By what text of llmitm in a conversation is known again: keys of blocks, and the visible mark.

A local answer ends with `[llmitm k3f9q2]`; a block before a model's answer stands between that
mark and `[/llmitm]`. Never: keeps anything, reads a message.
"""

from __future__ import annotations

import re
from base64 import b32encode

from llmitm.canon.digests import bare_digest, digest
from llmitm.stages.conversation import Memory

MARK_OPENING = "[llmitm "
MARK = re.compile(r"\[llmitm ([a-z0-9]{6})\]")
BLOCK_END = "[/llmitm]"
_TAG_CHARS = 6
_HEAD_CHARS = 256
_OPENING_CHARS = 48


def command_key(memory: Memory, scope: bytes, text: str) -> bytes:
    """The key of the `command` block of a whole text part; white space does not matter."""
    return digest(memory.salt, ("command", scope.hex(), bare_digest(text).hex()))


def tag_key(memory: Memory, scope: bytes, tag: str) -> bytes:
    """The key of the `tag` block of a visible mark."""
    return digest(memory.salt, ("tag", scope.hex(), tag))


def answer_key(memory: Memory, scope: bytes, text: str) -> bytes:
    """The key of the `tag` block of a local answer by its first words, for clients that have cut
    the mark off its end."""
    head = "".join(text[:_HEAD_CHARS].split())[:_OPENING_CHARS]
    return digest(memory.salt, ("answer", scope.hex(), head))


def response_key(memory: Memory, scope: bytes, response_id: str) -> bytes:
    """The key of the `response` block of an answer's id; in hex the alias of a real answer's."""
    return digest(memory.salt, ("response", scope.hex(), response_id))


def new_tag(memory: Memory, scope: bytes, turn_id: str) -> str:
    """A tag that no conversation of this scope has: six characters of a-z2-7, by the turn's id."""
    count = 0
    while True:
        made = digest(memory.salt, ("new tag", turn_id, str(count)))
        tag = b32encode(made).decode().lower()[:_TAG_CHARS]
        if memory.block(scope, tag_key(memory, scope, tag)) is None:
            return tag
        count += 1


def with_mark(text: str, tag: str) -> str:
    """A local answer as the client sees it."""
    return f"{text}\n\n{MARK_OPENING}{tag}]"


def as_block(text: str, tag: str) -> str:
    """What is put before a model's answer."""
    return f"{MARK_OPENING}{tag}]\n{text}\n{BLOCK_END}\n\n"
