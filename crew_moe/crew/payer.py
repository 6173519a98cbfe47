"""On whose behalf a crew works: who pays for its calls, within which limits, and what the gate is told of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from crew_moe.crew.current import run_now
from crew_moe.crew.order import Order
from crew_moe.domain.budget import Ceiling, ScopeKind
from crew_moe.domain.money import parse_usd, to_nano, to_usd
from crew_moe.domain.principal import Principal
from crew_moe.domain.scope import scope_of
from crew_moe.execution.errand import NO_LIMITS, Errand, errand_of
from crew_moe.ports import Amount

if TYPE_CHECKING:
    from crew_moe.router import Router


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """Whoever `attach` was told: `principal` says who asks, `budget_nano` what one run of the crew may cost."""

    router: Router
    principal: Principal | None = None
    budget_nano: int | None = None

    @classmethod
    def of(cls, router: Router, principal: Principal | None, budget_usd: Amount | None) -> Self:
        """Raises InvalidInput for what is no amount."""
        limit = None if budget_usd is None else to_nano(parse_usd(budget_usd, where="budget_usd"))
        return cls(router=router, principal=principal, budget_nano=limit)

    def errand(self, order: Order) -> Errand:
        """The errand of one call."""
        limits = {} if order.limit_nano is None else {ScopeKind.TASK: Ceiling(limit_nano=order.limit_nano)}
        return self.router.guards.with_context(
            self.charged(self._payers(order), limits),
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

    def charged(self, names: Mapping[ScopeKind, str], limits: Mapping[ScopeKind, Ceiling] = NO_LIMITS) -> Errand:
        """An errand that these pay for: within the budget of the run, and within those of runs inside it."""
        run, name = run_now(), names.get(ScopeKind.RUN, "")
        alone = {} if self.budget_nano is None else {name: self.budget_nano}
        budgets = {whose: Ceiling(limit_nano=nano) for whose, nano in (alone if run is None else run.budgets).items()}
        own = budgets.pop(name, None)
        errand = errand_of(
            names,
            self.router.policy.budgets,
            limits=limits if own is None else {**limits, ScopeKind.RUN: own},
        )
        tenant = names.get(ScopeKind.TENANT) or None
        inside = {scope_of(ScopeKind.RUN, whose, tenant): ceiling for whose, ceiling in budgets.items()}
        return replace(errand, scopes=(*errand.scopes, *inside), ceilings={**errand.ceilings, **inside})

    def _payers(self, order: Order) -> dict[ScopeKind, str]:
        block, task = order.block, order.run.key
        names = {ScopeKind.TENANT: block.tenant, ScopeKind.PROJECT: block.project}
        given = {kind: name for kind, name in names.items() if name}
        return {**given, **self.who, ScopeKind.RUN: order.run_id, ScopeKind.TASK: task}

    @property
    def who(self) -> Mapping[ScopeKind, str]:
        """Whoever was authenticated, as payers."""
        who = self.principal
        if who is None:
            return {}
        names = {ScopeKind.TENANT: who.tenant, ScopeKind.USER: who.subject, ScopeKind.CHANNEL: who.channel}
        return {kind: name for kind, name in names.items() if name}
