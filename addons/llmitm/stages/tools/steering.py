"""What a model is told of a call that was stopped, and what the user sees in its place."""

from __future__ import annotations

from llmitm.stages.tools.rulings import Ruling

MOST_ATTEMPTS = 3
"""How often the model is asked again in one answer."""

_WARNINGS = (
    "The call was intercepted before it reached the user's machine, so nothing has changed there. "
    "Do not try the same in another spelling.",
    "This is the second call that had to be stopped in this answer. Stop pursuing that way: any "
    "other spelling, wrapper or tool for the same thing will be stopped as well.",
    "This is the third call that had to be stopped, and the last time you are asked. Go on without "
    "it, or say in text what the user has to do. One more such call ends your turn.",
)


def note(name: str, ruling: Ruling, attempt: int) -> str:
    """What the model is told in place of the call's result."""
    lines = (
        f"The call of `{name}` was not run. {ruling.why}",
        ruling.advice,
        _WARNINGS[min(attempt, len(_WARNINGS)) - 1],
    )
    return "\n".join(line for line in lines if line)


def told(name: str, ruling: Ruling) -> str:
    """What the user sees in place of a call that is not passed on."""
    return f"[Tool call stopped: `{name}` was not run. {ruling.why}]"


def ended(name: str, ruling: Ruling) -> str:
    """What the user sees when the model was asked often enough."""
    return (
        f"[Tool call stopped: `{name}` was not run. {ruling.why} The model was asked "
        f"{MOST_ATTEMPTS} times to go on without it and called it again, so its turn ends here.]"
    )
