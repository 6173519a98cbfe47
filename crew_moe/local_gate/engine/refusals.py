"""What the local gate says when it gives no answer: the same words wherever it happens."""

from __future__ import annotations

from typing import Final

from crew_moe.domain.local_work import LocalRefusal, Trouble
from crew_moe.errors import HostFailed

ADVICE: Final = (
    "break the text into smaller parts",
    "try again at a less busy time",
    "use a different model",
)
"""What seed 003 suggests after a timeout."""
LEAST_WAIT_S: Final = 0.1


def late(expert: str | None, timeout_s: float | None = None) -> LocalRefusal:
    """The request's time is over."""
    within = f" within {timeout_s:g} s" if timeout_s is not None else " in time"
    return LocalRefusal(trouble=Trouble.TIMEOUT, what=f"no answer came{within}", next_steps=ADVICE, expert=expert)


def overloaded(expert: str, what: str, wait_s: float) -> LocalRefusal:
    """Too many wait. `wait_s` is how long those that wait are expected to take."""
    return LocalRefusal(
        trouble=Trouble.OVERLOADED,
        what=f"{expert} is overloaded: {what}",
        next_steps=ADVICE[1:],
        expert=expert,
        retry_after_s=round(max(wait_s, LEAST_WAIT_S), 3),
    )


def failed(expert: str, error: HostFailed) -> LocalRefusal:
    """A host's failure."""
    return LocalRefusal(
        trouble=Trouble(error.trouble),
        what=f"{expert}: {error.what}",
        next_steps=error.next_steps,
        expert=expert,
        retry_after_s=error.retry_after_s,
    )


def unavailable(what: str, expert: str | None = None) -> LocalRefusal:
    return LocalRefusal(trouble=Trouble.UNAVAILABLE, what=what, expert=expert)


def wrong(what: str, *, trouble: Trouble = Trouble.INVALID_INPUT, expert: str | None = None) -> LocalRefusal:
    """What was asked can't be done by anybody."""
    return LocalRefusal(trouble=trouble, what=what, expert=expert)
