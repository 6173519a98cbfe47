"""Money beyond a limit, call by call, where the policy lets a person decide (`on_exhausted: hold`)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from crew_moe.domain.approval import ApprovalState
from crew_moe.domain.budget import Refusal
from crew_moe.domain.verdict import GateContext, Ruling, Verdict
from crew_moe.errors import StateError
from crew_moe.execution.cashier import Cashier
from crew_moe.gating.gatekeeper import Gatekeeper

CHECK = "budget"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdraft:
    """Asks a person to let one call pass a limit, and raises the limit by the price of that call once it may."""

    cashier: Cashier
    gatekeeper: Gatekeeper

    def lend(self, context: GateContext, refusal: Refusal, reason: str, worst_nano: int) -> Verdict:
        """A hold while nobody has answered; allowed, with who approved, once the limit is raised."""
        # A question of its own, beside one that the gate may have asked about the same call.
        about = replace(context, digest=f"{context.digest}/{refusal.scope}")
        desk = self.gatekeeper.desk
        try:
            asked = desk.ask(about, roles=self.gatekeeper.gate.approvers, reason=reason)
            if asked.state is ApprovalState.PENDING:
                return Verdict(ruling=Ruling.HOLD, check=CHECK, reason=reason, approval_id=asked.id)
            if asked.state is not ApprovalState.APPROVED:
                answer = f"denied by {asked.decided_by}" if asked.decided_by else "nobody approved in time"
                return Verdict(ruling=Ruling.DENY, check=CHECK, reason=f"{reason}; {answer}")
            used = desk.redeem(about, asked.id)
            if used.allowed:
                self.cashier.raise_limit(refusal.scope, worst_nano)
        except StateError as error:
            return Verdict(ruling=Ruling.DENY, check=CHECK, reason=f"{reason}; nobody can be asked: {error}")
        return replace(used, reason=f"approved by {asked.decided_by}") if used.allowed else used
