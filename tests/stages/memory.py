"""The memory without a disk, with a look at what a stage has put into it."""

from __future__ import annotations

from llmitm.record.ram_memory import RamMemory as Memory
from llmitm.stages.conversation import Block, Conversation


class RamMemory(Memory):
    """saved: the keys of the conversations it was given, in order; blocks: all it keeps."""

    def __init__(self, salt: bytes = b"salt of a test") -> None:
        super().__init__(salt)
        self.saved: list[str] = []

    @property
    def blocks(self) -> dict[tuple[bytes, bytes], Block]:
        return self._blocks

    def save(self, conversation: Conversation) -> None:
        super().save(conversation)
        self.saved.append(conversation.key)
