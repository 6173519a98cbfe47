"""What may become of an answer to a question: taken, or why not. All of them are values that a person can read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from crew_moe.domain.approval import Approval, ApprovalState
from crew_moe.domain.principal import Principal
from crew_moe.domain.word import Word
from crew_moe.gating.names import folded
from crew_moe.ports import Approvals

MIN_PREFIX: Final = 6
MAX_ID_CHARS: Final = 64


class Outcome(Word):
    """What became of an answer."""

    TAKEN = "taken"
    ALREADY = "already"
    EXPIRED = "expired"
    WRONG_ROLE = "wrong_role"
    OWN_REQUEST = "own_request"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"


_SENTENCES: Final = {
    Outcome.TAKEN: "{state} by {by}",
    Outcome.ALREADY: "this was answered before: {state} by {by}",
    Outcome.EXPIRED: "nobody answered in time: the question is closed",
    Outcome.WRONG_ROLE: "only {roles} may answer this",
    Outcome.OWN_REQUEST: "nobody answers his own request",
    Outcome.UNKNOWN: "no such approval waits for an answer",
    Outcome.AMBIGUOUS: f"no single approval begins so; give more of its id ({MIN_PREFIX} characters at least)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of an answer. `approval` is how the question stands now, where the answerer may know it."""

    outcome: Outcome
    approval: Approval | None = None

    @property
    def ok(self) -> bool:
        """Whether this answer was the one that counts."""
        return self.outcome is Outcome.TAKEN

    def __str__(self) -> str:
        found = self.approval
        return _SENTENCES[self.outcome].format(
            state="" if found is None else found.state.value,
            by="" if found is None else found.decided_by or "nobody",
            roles="" if found is None else " or ".join(found.roles),
        )


def look_up(approvals: Approvals, approval_id: str, now: datetime) -> Approval | Outcome:
    """The approval of this id, or the only pending one whose id begins so."""
    given = approval_id.strip()
    if not given.isascii() or not given.isprintable() or len(given) > MAX_ID_CHARS:
        return Outcome.UNKNOWN
    found = approvals.get(given, now)
    if found is not None:
        return found
    if len(given) < MIN_PREFIX:
        return Outcome.AMBIGUOUS
    wanted = given.casefold()
    beginning = [one for one in approvals.pending(now) if one.id.casefold().startswith(wanted)]
    if len(beginning) > 1:
        return Outcome.AMBIGUOUS
    return beginning[0] if beginning else Outcome.UNKNOWN


def judged(found: Approval | Outcome, name: str, principal: Principal | None, *, anew: bool = True) -> Answer:
    """Whether `name` may answer: TAKEN where nothing is against it. `anew` is False for an answer that came too late.

    `principal` is None where nobody's roles are asked for. To a stranger's tenant the approval does not exist.
    """
    if isinstance(found, Outcome):
        return Answer(outcome=found)
    if principal is not None and found.tenant is not None and principal.tenant != found.tenant:
        return Answer(outcome=Outcome.UNKNOWN)
    if principal is not None and found.roles and principal.roles.isdisjoint(found.roles):
        return Answer(outcome=Outcome.WRONG_ROLE, approval=found)
    if found.asked_by is not None and folded(found.asked_by) == folded(name):
        return Answer(outcome=Outcome.OWN_REQUEST, approval=found)
    if found.state is ApprovalState.EXPIRED:
        return Answer(outcome=Outcome.EXPIRED, approval=found)
    taken = anew and found.state is ApprovalState.PENDING
    return Answer(outcome=Outcome.TAKEN if taken else Outcome.ALREADY, approval=found)
