"""On whose behalf a crew works: who pays for its calls, within which limits, and what the gate is told of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crew_moe.crew.order import Order
from crew_moe.domain.budget import Ceiling, ScopeKind
from crew_moe.domain.money import to_usd
from crew_moe.domain.principal import Principal
from crew_moe.execution.errand import Errand, errand_of

if TYPE_CHECKING:
    from crew_moe.router import Router


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """Whoever `attach` was told: `principal` says who asks, `budget_nano` what one run of the crew may cost."""

    router: Router
    principal: Principal | None = None
    budget_nano: int | None = None

    def errand(self, order: Order) -> Errand:
        """The errand of one call."""
        limits = {}
        if self.budget_nano is not None:
            limits[ScopeKind.RUN] = Ceiling(limit_nano=self.budget_nano)
        if order.limit_nano is not None:
            limits[ScopeKind.TASK] = Ceiling(limit_nano=order.limit_nano)
        guards = self.router.guards
        errand = errand_of(self._payers(order), self.router.policy.budgets, limits=limits)
        return guards.with_context(
            errand,
            screened=order.screened,
            principal=self.principal,
            opening=order.run.opening,
            max_cost_usd=to_usd(order.limit_nano or 0),
            approval=order.block.approval,
            granted=order.run.granted_with(order.screened.hold),
            task=order.run.name or order.run.label,
            task_type=str(order.block.task_type or ""),
            risk=str(order.block.risk or ""),
            tenant=order.block.tenant,
            run_id=order.run_id,
        )

    def _payers(self, order: Order) -> dict[ScopeKind, str]:
        block, who = order.block, self.principal
        names = {
            ScopeKind.TENANT: (who.tenant if who else None) or block.tenant,
            ScopeKind.PROJECT: block.project,
            ScopeKind.USER: who.subject if who else None,
            ScopeKind.CHANNEL: who.channel if who else None,
            ScopeKind.RUN: order.run_id,
            ScopeKind.TASK: order.run.key,
        }
        return {kind: name for kind, name in names.items() if name}
