"""Who is in which arm: a keyed hash, so that a key keeps its arm and nobody has to remember it."""

from __future__ import annotations

from typing import Final

from crew_moe.domain.digest import digest
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.word import Word

UNITS: Final = 32
"""Keys fall into so many units; what happens to one key stays inside one of them."""

_WHOLE: Final = 2**64


class Arm(Word):
    """The policy in force, or the one that is tried."""

    CONTROL = "control"
    CANDIDATE = "candidate"


def key_of(request: RoutingRequest, decision_id: str) -> str:
    """What stays in one arm: the session, else the run, the user, the tenant, else the decision alone."""
    for name in ("session_key", "run_id", "user", "tenant"):
        value = getattr(request, name)
        if value is not None:
            return f"{name}:{value}"
    return f"decision:{decision_id}"


def arm_of(key: str, *, salt: bytes, share: float) -> Arm:
    """The arm of a key; `share` of all keys are the candidate's. Another salt deals all keys anew, independently.

    >>> {arm_of("user:ada", salt=b"one", share=0.5) for _ in range(3)}
    {<Arm.CONTROL: 'control'>}
    """
    dealt = int.from_bytes(digest(key, key=salt, size=8))
    return Arm.CANDIDATE if dealt < share * _WHOLE else Arm.CONTROL


def unit_of(key: str, *, salt: bytes) -> int:
    """The unit of a key, independent of its arm."""
    return digest(f"unit:{key}", key=salt, size=1)[0] % UNITS
