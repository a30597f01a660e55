"""A memory without a disk, for tests of stages."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmitm.stages.conversation import Block, Conversation


@dataclass
class RamMemory:
    """A `Memory` that forgets nothing. kept, saved: everything it was given, in order."""

    salt: bytes = b"salt of a test"
    blocks: dict[tuple[bytes, bytes], Block] = field(default_factory=dict)
    conversations: dict[str, Conversation] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    saved: list[str] = field(default_factory=list)

    def knows(self, scope: bytes) -> bool:
        return any(one == scope for one, _ in self.blocks)

    def prefixes(self, scope: bytes) -> frozenset[str]:
        found = (block.prefix for (one, _), block in self.blocks.items() if one == scope)
        return frozenset(prefix for prefix in found if prefix)

    def block(self, scope: bytes, key: bytes) -> Block | None:
        return self.blocks.get((scope, key))

    def keep(self, scope: bytes, key: bytes, block: Block) -> None:
        self.blocks[scope, key] = block

    def conversation(self, key: str) -> Conversation | None:
        return self.conversations.get(self.aliases.get(key, key))

    def save(self, conversation: Conversation) -> None:
        self.conversations[conversation.key] = conversation
        self.saved.append(conversation.key)

    def alias(self, other: str, key: str) -> None:
        self.aliases[other] = key
