"""Conversations and blocks that nobody keeps: a `Memory` for a look at one request.

Never: forgets anything, so it is not for a proxy that runs; touches a disk.
"""

from __future__ import annotations

from llmitm.stages.conversation import Block, Conversation


class RamMemory:
    """The `Memory` of `stages/conversation.py` that is gone with its object.

    salt: what digests are made with; nothing of them is kept, so it need not be secret.
    """

    def __init__(self, salt: bytes) -> None:
        self.salt = salt
        self._blocks: dict[tuple[bytes, bytes], Block] = {}
        self._conversations: dict[str, Conversation] = {}
        self._aliases: dict[str, str] = {}

    def knows(self, scope: bytes) -> bool:
        """Whether any block of this scope is kept."""
        return any(each == scope for each, _ in self._blocks)

    def prefixes(self, scope: bytes) -> frozenset[str]:
        """The command prefixes of this scope's blocks."""
        blocks = (block for (each, _), block in self._blocks.items() if each == scope)
        return frozenset(block.prefix for block in blocks if block.prefix)

    def block(self, scope: bytes, key: bytes) -> Block | None:
        """The block with this key."""
        return self._blocks.get((scope, key))

    def keep(self, scope: bytes, key: bytes, block: Block) -> None:
        """Keeps a block."""
        self._blocks[scope, key] = block

    def conversation(self, key: str) -> Conversation | None:
        """The conversation with this key or alias."""
        return self._conversations.get(self._aliases.get(key, key))

    def save(self, conversation: Conversation) -> None:
        """Keeps a conversation."""
        self._conversations[conversation.key] = conversation

    def alias(self, other: str, key: str) -> None:
        """Lets `conversation(other)` find the one with `key`."""
        self._aliases[other] = key

    def close(self) -> None:
        """Nothing is left to be written."""
