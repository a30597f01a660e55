"""Every exception llmitm raises, drawn here once.

    LlmitmError
    ├── RuleError          a rule file or the environment is wrong; stops the start
    ├── ClientWireError    the client's request has the wrong shape; 400
    ├── ProviderWireError  the provider's answer has the wrong shape; 502
    ├── CannotExpress      a translation would lose what a rule forbids to lose; 422
    ├── DocumentError      an operator's edit of a document is not valid; told to the operator
    └── StageError         a policy failed; its rule's `on_error` decides

Each leaf is caught somewhere by name. Trouble that is expected inside a stream is a value
(`canon.Fault`), never an exception.
"""

from __future__ import annotations

from collections.abc import Iterable


class LlmitmError(Exception):
    """The root: anything llmitm raises on purpose."""


class RuleError(LlmitmError):
    """A rule file (or a variable that stands for one) is not valid.

    file: the path or the variable's name; line: 1-based, 0 where there is none; pointer: JSON
    pointer into the document, empty for the whole; say: what is wrong and what is allowed.
    """

    def __init__(self, file: str, line: int, pointer: str, say: str) -> None:
        self.file = file
        self.line = line
        self.pointer = pointer
        self.say = say
        place = f"{file}:{line}" if line else file
        super().__init__(f"{place} {pointer}: {say}" if pointer else f"{place}: {say}")


class ClientWireError(LlmitmError):
    """A request does not have the shape of its protocol.

    pointer: JSON pointer to the value (`/messages/3/content`), empty for the whole body.
    """

    def __init__(self, pointer: str, say: str) -> None:
        self.pointer = pointer
        self.say = say
        super().__init__(f"{pointer}: {say}" if pointer else say)


class ProviderWireError(LlmitmError):
    """A provider's answer does not have the shape of its protocol."""

    def __init__(self, provider: str, say: str) -> None:
        self.provider = provider
        self.say = say
        super().__init__(f"{provider}: {say}")


class CannotExpress(LlmitmError):
    """A rule refuses the loss of a feature that the target protocol does not have."""

    def __init__(self, feature: str, target: str) -> None:
        self.feature = feature
        self.target = target
        super().__init__(f"{feature} cannot be expressed in {target}")


class StageError(LlmitmError):
    """A policy raised; `cause` is what it raised."""

    def __init__(self, stage: str, cause: BaseException) -> None:
        self.stage = stage
        self.cause = cause
        super().__init__(f"stage {stage}: {type(cause).__name__}: {cause}")


class DocumentError(LlmitmError):
    """An edited document does not say what its request, answer or call is to be.

    mistakes: (line, what is wrong there and what is allowed), in order of the lines; a line is
    1-based, 0 where there is none.
    """

    def __init__(self, mistakes: Iterable[tuple[int, str]]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__(
            "\n".join(f"line {line}: {say}" if line else say for line, say in self.mistakes)
        )
