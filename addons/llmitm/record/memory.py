"""Conversations and what must be cut from their histories, kept in one private file.

Survives a killed process: a write is with the operating system before it returns. Bounded; what
was unused longest goes first. Never: holds a text of a chat (digests, settings, routes, tags and
the texts of llmitm's own answers only), raises, reads all of the file.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from llmitm.record.memory_file import Broken, Busy, MemoryFile, open_file, set_aside
from llmitm.stages.conversation import Block, Conversation

MAX_BLOCKS = 50_000
MAX_CONVERSATIONS = 10_000
_SALT_BYTES = 32
_MOST_BUSY = 3
_ASK_EVERY = 16


class DiskMemory:
    """The `Memory` on disk. salt: made with the file and kept in it.

    RAM holds what was used last, and everything that the file would not take. say: gets one line
    about each new kind of trouble.
    """

    salt: bytes

    def __init__(
        self,
        path: Path,
        *,
        say: Callable[[str], None],
        max_blocks: int = MAX_BLOCKS,
        max_conversations: int = MAX_CONVERSATIONS,
    ) -> None:
        self._path = path
        self._say = say
        self._said: set[str] = set()
        self._most = (max(max_blocks, 1), max(max_conversations, 1))
        self._blocks: OrderedDict[tuple[bytes, bytes], Block] = OrderedDict()
        self._conversations: OrderedDict[str, Conversation] = OrderedDict()
        self._aliases: OrderedDict[str, str] = OrderedDict()
        self._kept: set[str] = set()
        self._scopes: dict[bytes, frozenset[str]] = {}
        self._new_blocks: dict[tuple[bytes, bytes], Block] = {}
        self._new_conversations: dict[str, Conversation] = {}
        self._new_aliases: dict[str, str] = {}
        self._busy = 0
        self._calls = 0
        self._file_has_names = False
        self.salt = secrets.token_bytes(_SALT_BYTES)
        self._file: MemoryFile | None = self._opened()

    # The contract of `stages/conversation.py`.

    def knows(self, scope: bytes) -> bool:
        """Whether any block of this scope is kept.

        What another process has written is noticed within a few calls: asking costs more than all
        the rest.
        """
        self._calls += 1
        if self._calls % _ASK_EVERY == 0 and self._asked(lambda file: file.others_wrote()):
            self._read_scopes()
        return scope in self._scopes

    def prefixes(self, scope: bytes) -> frozenset[str]:
        """The command prefixes of this scope's blocks."""
        return self._scopes.get(scope, frozenset())

    def block(self, scope: bytes, key: bytes) -> Block | None:
        """The block with this key."""
        if scope not in self._scopes:
            return None
        place = (scope, key)
        found = self._blocks.get(place)
        if found is None:
            found = self._asked(lambda file: file.block(scope, key))
            if found is None:
                return None
        elif self._file is not None:
            self._file.touch_block(scope, key)
        self._hold_block(place, found)
        return found

    def keep(self, scope: bytes, key: bytes, block: Block) -> None:
        """Keeps a block, on disk before it returns."""
        self._hold_block((scope, key), block)
        known = self._scopes.get(scope, frozenset())
        self._scopes[scope] = known | {block.prefix} if block.prefix else known
        self._new_blocks[(scope, key)] = block
        self._write()

    def conversation(self, key: str) -> Conversation | None:
        """The conversation with this key or alias: the same object while it is in RAM."""
        other = self._aliases.get(key)
        if other is not None:
            self._aliases.move_to_end(key)
        found = self._held(key) or (None if other is None else self._held(other))
        if found is not None:
            return found
        wanted = key if other is None else other
        read = self._asked(lambda file: file.conversation(wanted))
        if read is None or (found := self._held(read.key)) is not None:
            return found
        self._kept.add(read.key)
        self._hold(read)
        return read

    def save(self, conversation: Conversation) -> None:
        """Keeps a conversation: in RAM if it `is_plain`, else on disk before it returns."""
        key = conversation.key
        self._hold(conversation)
        if conversation.is_plain and key not in self._kept:
            return
        if key not in self._kept:
            self._kept.add(key)
            self._new_aliases.update(
                (other, mine) for other, mine in self._aliases.items() if mine == key
            )
        self._new_conversations[key] = conversation
        self._write()

    def alias(self, other: str, key: str) -> None:
        """Lets `conversation(other)` find the one with `key`; RAM only unless that one is kept."""
        if self._aliases.get(other) == key:
            self._aliases.move_to_end(other)
            return
        self._aliases[other] = key
        self._aliases.move_to_end(other)
        if len(self._aliases) > self._most[0]:
            self._aliases.popitem(last=False)
        held = self._conversations.get(key)
        fresh = held is not None and held.is_plain and key not in self._kept
        if fresh and not self._file_has_names:
            return
        if key in self._kept or self._asked(lambda file: file.has_conversation(key)):
            self._kept.add(key)
            self._new_aliases[other] = key
            self._write()
        elif self._asked(lambda file: file.has_alias(other)):
            # What the file says of these words is about an older conversation.
            self._new_aliases[other] = ""
            self._write()

    def close(self) -> None:
        """Writes what is left to write and lets the file go; the memory goes on in RAM."""
        self._write()
        if self._file is not None:
            self._file.close()
            self._file = None

    # What is in RAM.

    def _hold_block(self, place: tuple[bytes, bytes], block: Block) -> None:
        self._blocks[place] = block
        self._blocks.move_to_end(place)
        if len(self._blocks) > self._most[0]:
            gone, _ = self._blocks.popitem(last=False)
            self._new_blocks.pop(gone, None)
            if self._file is None:
                self._forget_scopes()

    def _forget_scopes(self) -> None:
        """Without a file nothing else says which scopes still have blocks."""
        if len(self._scopes) > len(self._blocks):
            alive = {each for each, _ in self._blocks}
            self._scopes = {each: p for each, p in self._scopes.items() if each in alive}

    def _held(self, key: str) -> Conversation | None:
        found = self._conversations.get(key)
        if found is not None:
            self._conversations.move_to_end(key)
            if key in self._kept and self._file is not None:
                self._file.touch_conversation(key)
        return found

    def _hold(self, conversation: Conversation) -> None:
        self._conversations[conversation.key] = conversation
        self._conversations.move_to_end(conversation.key)
        if len(self._conversations) > self._most[1]:
            gone, _ = self._conversations.popitem(last=False)
            self._kept.discard(gone)
            self._new_conversations.pop(gone, None)

    # What is on disk.

    def _opened(self) -> MemoryFile | None:
        for _ in range(2):
            try:
                file = open_file(self._path, self.salt, self._most)
                self.salt = file.salt
                self._scopes = file.scopes()
                self._file_has_names = file.has_names()
                return file
            except Broken as trouble:
                if not self._aside(trouble):
                    return None
            except (OSError, sqlite3.Error) as trouble:
                self._tell(
                    "open", f"{self._path}: {trouble}; conversations are kept in memory only"
                )
                return None
        return None

    def _aside(self, trouble: Broken) -> bool:
        """Whether the broken file could be moved out of the way."""
        try:
            place = set_aside(self._path)
        except OSError as error:
            self._tell("open", f"{self._path}: {trouble}, and cannot be set aside ({error})")
            return False
        self._tell(f"broken {place}", f"{self._path}: {trouble}; set aside as {place.name}")
        return True

    def _asked[T](self, read: Callable[[MemoryFile], T | None]) -> T | None:
        if self._file is None:
            return None
        try:
            return read(self._file)
        except Broken as trouble:
            self._start_anew(trouble)
        except (sqlite3.Error, Busy) as trouble:
            self._tell("read", f"{self._path}: {trouble}")
        return None

    def _write(self) -> None:
        """Everything new into the file; what it does not take stays in RAM for the next time."""
        if self._file is None:
            self._forget_new()
            return
        if not (self._new_blocks or self._new_conversations or self._new_aliases):
            return
        self._file_has_names = self._file_has_names or bool(self._new_aliases)
        try:
            self._file.write(self._new_blocks, self._new_conversations, self._new_aliases)
        except Busy as trouble:
            self._busy += 1
            self._tell("busy", f"{self._path}: {trouble}; kept in memory until it is free")
            if self._busy >= _MOST_BUSY:
                self._give_up(trouble)
        except Broken as trouble:
            self._start_anew(trouble)
        except sqlite3.Error as trouble:
            self._give_up(trouble)
        else:
            self._busy = 0
            self._forget_new()

    def _start_anew(self, trouble: Broken) -> None:
        """A new file with everything that is in RAM in place of the broken one."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if not self._aside(trouble):
            self._forget_new()
            return
        scopes = self._scopes
        self._file = self._opened()
        self._scopes = scopes
        if self._file is None:
            return
        self._new_blocks = dict(self._blocks)
        self._new_conversations = {
            key: each for key, each in self._conversations.items() if not each.is_plain
        }
        self._new_aliases = {
            other: key for other, key in self._aliases.items() if key in self._new_conversations
        }
        self._write()

    def _give_up(self, trouble: sqlite3.Error | Busy) -> None:
        self._tell("write", f"{self._path}: {trouble}; conversations are kept in memory only")
        if self._file is not None:
            self._file.close()
            self._file = None
        self._forget_new()

    def _forget_new(self) -> None:
        self._new_blocks.clear()
        self._new_conversations.clear()
        self._new_aliases.clear()

    def _read_scopes(self) -> None:
        self._file_has_names = bool(self._asked(lambda file: file.has_names()))
        written = self._asked(lambda file: file.scopes())
        for scope, prefixes in (written or {}).items():
            self._scopes[scope] = self._scopes.get(scope, frozenset()) | prefixes

    def _tell(self, kind: str, line: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            self._say(line)
