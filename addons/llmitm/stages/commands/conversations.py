"""Finds the conversation that a request belongs to, and takes everything of ours out of it.

Answers the question "which chat is this?": by the client's own id, by the answer it goes on from,
by what of ours stands in its history, by its first words; never by address. What was said in it
before and must not reach a provider goes out here; the user's newest message is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from llmitm.canon.digests import digest
from llmitm.canon.events import Fault
from llmitm.canon.parts import Text, ToolResult
from llmitm.canon.request import Message, Request
from llmitm.canon.turns import split_instructions, text_of
from llmitm.stages.commands.added import own
from llmitm.stages.commands.marks import response_key
from llmitm.stages.commands.stripping import newest_user, stripped
from llmitm.stages.contract import FORWARD, Account, Forward, Refuse, Stage, Turn
from llmitm.stages.conversation import Conversation, Memory
from llmitm.stages.told_answers import ASKED, ToldAnswers

_NAME = "conversations"
# Where the stage that routes notes that it took the one-off route.
_ONE_OFF = "route"
_INSTRUCTIONS_CHARS = 128
_OPENING_CHARS = 4096
# The only protocol whose requests name the answer they go on from.
_CHAINED = "openai_responses"
_WRITING_TOOLS = frozenset(
    (
        *("write", "write_file", "writefile", "write_to_file", "create", "create_file"),
        *("edit", "edit_file", "editfile", "multi_edit", "multiedit", "multi_replace"),
        *("insert", "insert_edit_into_file", "insert_content", "search_and_replace"),
        *("apply_patch", "apply_diff", "applypatch", "patch", "patch_file"),
        *("replace", "replace_in_file", "replace_string_in_file", "str_replace"),
        *("str_replace_editor", "str_replace_based_edit_tool", "notebook_edit", "notebookedit"),
        *("append_file", "append_to_file", "delete_file", "move_file", "rename_file"),
    )
)
"""Names of tools that change files, in lower case."""


def _nothing(client: str) -> Sequence[re.Pattern[str]]:
    del client
    return ()


class Conversations(Stage):
    """Conversation identity and the history without what is ours.

    memory: where both are kept; added: client name -> patterns of what it puts around the user's
    words by itself.
    """

    name = _NAME
    counts = True

    def __init__(
        self,
        memory: Memory,
        added: Callable[[str], Sequence[re.Pattern[str]]] = _nothing,
        told: ToldAnswers | None = None,
    ) -> None:
        self._memory = memory
        self._added = added
        self._told = ToldAnswers() if told is None else told

    def on_request(self, turn: Turn, request: Request) -> Forward | Refuse:
        """The request without commands that have run, their answers and marks of ours.

        Sets `turn.conversation`. `turn.memory["conversations"]` is how many of the last parts of
        the newest user message are its own, where an earlier one had to be joined to it.
        """
        memory, scope = self._memory, turn.scope
        added = self._added(turn.client)
        asked = self._told.joined(scope, request)
        if asked is not request:
            turn.memory[ASKED] = request = asked
        found = stripped(request, memory, scope, added)
        earlier = request.previous_response_id
        said_after, replaces = "", earlier
        if earlier:
            block = memory.block(scope, response_key(memory, scope, earlier))
            if block is not None and block.kind == "response":
                said_after, replaces = block.conversation, block.replaces or None
        left = request
        if found.cuts or replaces != earlier:
            left = replace(request, messages=found.messages, previous_response_id=replaces)
        turn.conversation = self._conversation(
            turn, left, said_after, found.tagged or found.commanded
        )
        if not found.cuts and replaces == earlier:
            return Forward(request=asked) if ASKED in turn.memory else FORWARD
        if not found.messages and request.messages:
            fault = Fault(kind="invalid_request", message="nothing but commands", status=400)
            return Refuse(fault=fault, why="nothing is left without commands")
        _note_own_parts(turn, request, left)
        return Forward(request=left, why=f"{found.cuts} pieces of ours taken out")

    def _conversation(
        self, turn: Turn, request: Request, said_after: str, remembered: str
    ) -> Conversation:
        memory, scope = self._memory, turn.scope
        if turn.client_conversation:
            return self._at(
                digest(
                    memory.salt, ("client", scope.hex(), turn.client, turn.client_conversation)
                ).hex()
            )
        if said_after:
            return self._at(said_after)
        if request.previous_response_id:
            known = memory.conversation(
                response_key(memory, scope, request.previous_response_id).hex()
            )
            if known is not None:
                return known
        opening = _opening(turn, request, memory.salt, self._added(turn.client))
        if remembered:
            found = self._at(remembered)
            if memory.conversation(opening) is not found:
                memory.alias(opening, found.key)
            return found
        if any(message.role == "assistant" for message in request.messages):
            known = memory.conversation(opening)
            if known is not None:
                return known
        made = Conversation(key=digest(memory.salt, ("turn", turn.id)).hex())
        if turn.kind == "generate":
            memory.save(made)
            memory.alias(opening, made.key)
        return made

    def _at(self, key: str) -> Conversation:
        """The conversation with this key, made if it was forgotten."""
        known = self._memory.conversation(key)
        if known is None:
            known = Conversation(key=key)
            self._memory.save(known)
        return known

    def on_close(self, turn: Turn, account: Account) -> None:
        """Counts the answer, and remembers its id for a request that goes on from it."""
        conversation = turn.conversation
        if not conversation.key or turn.kind != "generate":
            return
        if _ONE_OFF in turn.memory:
            # The one-off route has been used up.
            self._memory.save(conversation)
        if account.lane == "local" or account.error or not 200 <= account.status < 300:
            return
        conversation.model_turns += 1
        conversation.file_writes += sum(
            name.lower() in _WRITING_TOOLS for name in account.tool_calls
        )
        if account.response_id and turn.protocol == _CHAINED:
            key = response_key(self._memory, turn.scope, account.response_id)
            self._memory.alias(key.hex(), conversation.key)


def _note_own_parts(turn: Turn, before: Request, after: Request) -> None:
    newest, last = newest_user(before.messages), newest_user(after.messages)
    if newest < 0 or last < 0:
        return
    old, new = before.messages[newest], after.messages[last]
    if len(new.parts) > len(old.parts):
        turn.memory[_NAME] = sum(not isinstance(part, ToolResult) for part in old.parts)


def _opening(turn: Turn, request: Request, salt: bytes, added: Sequence[re.Pattern[str]]) -> str:
    """A digest of who speaks, with whose instructions, and of the user's first words."""
    instructions, messages = split_instructions(request)
    first = ""
    for message in messages:
        if message.role == "user":
            first = _own_words(message, added)
            if first:
                break
    # White space never matters: clients set lines anew.
    head = "".join(text_of(instructions)[:_INSTRUCTIONS_CHARS].split())
    words = "".join(first[:_OPENING_CHARS].split())
    return digest(salt, ("opening", turn.scope.hex(), turn.client, head, words)).hex()


def _own_words(message: Message, added: Sequence[re.Pattern[str]]) -> str:
    """What the user wrote, without what tools gave back and what the client put around it."""
    texts = (part.text for part in message.parts if isinstance(part, Text))
    return "".join(text[slice(*own(text, added))] for text in texts)
