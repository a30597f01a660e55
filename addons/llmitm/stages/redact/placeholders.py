"""Which placeholder stands for which secret: the same one as long as the conversation lasts.

A placeholder is a keyed digest of its secret: nothing can be read from it, and no table has to
outlive the process for the next request to get the same one. Tables are bounded and in RAM only.
"""

from __future__ import annotations

from base64 import b32encode
from collections import OrderedDict

from llmitm.canon.digests import digest

PREFIX = "LLMITM_SECRET_"
PLACEHOLDER_CHARS = len(PREFIX) + 12
_MOST_SECRETS = 1 << 12
_MOST_CONVERSATIONS = 1 << 10


class Placeholders:
    """The placeholders of one conversation."""

    def __init__(self, salt: bytes, conversation: str) -> None:
        self._salt = salt
        self._conversation = conversation
        self._by_secret: OrderedDict[str, str] = OrderedDict()
        self._secrets: dict[str, str] = {}

    def __bool__(self) -> bool:
        """Whether something was replaced in this conversation."""
        return bool(self._secrets)

    def of(self, secret: str) -> tuple[str, bool]:
        """(its placeholder, whether it is new here)."""
        known = self._by_secret.get(secret)
        if known is not None:
            self._by_secret.move_to_end(secret)
            return known, False
        made = self._made(secret)
        self._by_secret[secret] = made
        self._secrets[made] = secret
        if len(self._by_secret) > _MOST_SECRETS:
            _, oldest = self._by_secret.popitem(last=False)
            del self._secrets[oldest]
        return made, True

    def secret(self, placeholder: str) -> str | None:
        """What it stands for, None = for nothing here."""
        return self._secrets.get(placeholder)

    def _made(self, secret: str) -> str:
        again = 0
        while True:
            texts = ("redact", self._conversation, str(again), secret)
            letters = b32encode(digest(self._salt, texts)).decode().lower()
            made = PREFIX + letters[: PLACEHOLDER_CHARS - len(PREFIX)]
            if made not in self._secrets:
                return made
            again += 1


class Tables:
    """The placeholders of all conversations; the longest unused go first."""

    def __init__(self, salt: bytes) -> None:
        self._salt = salt
        self._tables: OrderedDict[str, Placeholders] = OrderedDict()

    def find(self, conversation: str) -> Placeholders | None:
        """The conversation's table, None = nothing was replaced in it yet."""
        table = self._tables.get(conversation)
        if table is not None:
            self._tables.move_to_end(conversation)
        return table

    def of(self, conversation: str) -> Placeholders:
        """The conversation's table, made if there is none."""
        table = self._tables.get(conversation)
        if table is None:
            table = self._tables[conversation] = Placeholders(self._salt, conversation)
            if len(self._tables) > _MOST_CONVERSATIONS:
                self._tables.popitem(last=False)
        else:
            self._tables.move_to_end(conversation)
        return table
