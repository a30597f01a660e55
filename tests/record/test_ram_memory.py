"""The memory that nobody keeps holds to the contract of `stages/conversation.py`."""

from __future__ import annotations

from llmitm.record.ram_memory import RamMemory
from llmitm.stages.conversation import Block, Conversation, Memory


def test_blocks_belong_to_their_scope() -> None:
    memory: Memory = RamMemory(b"salt")
    block = Block(kind="command", conversation="c", prefix="!/")
    assert not memory.knows(b"one")
    memory.keep(b"one", b"key", block)
    memory.keep(b"one", b"tag", Block(kind="tag", conversation="c"))
    assert memory.knows(b"one")
    assert not memory.knows(b"other")
    assert memory.prefixes(b"one") == {"!/"}
    assert memory.prefixes(b"other") == frozenset()
    assert memory.block(b"one", b"key") is block
    assert memory.block(b"other", b"key") is None


def test_conversations_are_found_by_key_and_alias() -> None:
    memory: Memory = RamMemory(b"salt")
    first, second = Conversation(key="first"), Conversation(key="second")
    memory.save(first)
    memory.save(second)
    memory.alias("words", "first")
    assert memory.conversation("words") is first
    memory.alias("words", "second")
    assert memory.conversation("words") is second
    assert memory.conversation("first") is first
    assert memory.conversation("nobody") is None
    memory.close()
