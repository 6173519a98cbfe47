"""What becomes of a call that a check does not let pass: it is denied, held for a person, or goes to a lower tier."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from crew_moe.domain.expert import Tier
from crew_moe.domain.verdict import GateContext, Ruling, Verdict
from crew_moe.domain.word import Word
from crew_moe.errors import InvalidInput

ALLOWED: Final = Verdict(ruling=Ruling.ALLOW)
_BY_RANK: Final = tuple(sorted(Tier, key=lambda tier: tier.rank))


class OnHoldTimeout(Word):
    """How a held call goes on that nobody answered in time."""

    DOWNGRADE = "downgrade"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Otherwise:
    """What a check wants instead of the call.

    `tier` is the highest that a downgraded call may use (None: the one below its expert's), `roles` may lift a hold
    (none: those that the gate names).
    """

    ruling: Ruling
    tier: Tier | None = None
    roles: tuple[str, ...] = ()


DENY: Final = Otherwise(ruling=Ruling.DENY)


def hold(*roles: str) -> Otherwise:
    """Ask a person who has one of these roles."""
    return Otherwise(ruling=Ruling.HOLD, roles=roles)


def downgrade(tier: Tier | str | None = None) -> Otherwise:
    """Go on with an expert of this tier at most; None: of the next lower tier."""
    if tier is not None and tier not in set(Tier):
        raise InvalidInput(f"unknown tier '{tier}'", where="otherwise", value=tier, allowed=list(Tier))
    return Otherwise(ruling=Ruling.DOWNGRADE, tier=None if tier is None else Tier(tier))


def lowered(verdict: Verdict, tier: Tier | None, context: GateContext) -> Verdict:
    """`verdict` as a downgrade to `tier` (None: the next lower one).

    ALLOWED for an expert that is no higher than `tier`; a denial where there is no lower tier.
    """
    below = context.tier.rank - 1
    if tier is None and below < 0:
        reason = f"{verdict.reason}; there is no tier below {context.tier.value}"
        return replace(verdict, ruling=Ruling.DENY, tier=None, reason=reason)
    target = _BY_RANK[below] if tier is None else tier
    return ALLOWED if target.rank >= context.tier.rank else replace(verdict, ruling=Ruling.DOWNGRADE, tier=target)
