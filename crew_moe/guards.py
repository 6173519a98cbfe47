"""Everything that stands between a decision and a call: access rules, screening, budgets, rates, and the gate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Self

from crew_moe.domain.access import Demands
from crew_moe.domain.budget import OnExhausted
from crew_moe.domain.chat import ChatRequest
from crew_moe.domain.digest import MAX_KEY_BYTES, digest
from crew_moe.domain.expert import Tier
from crew_moe.domain.features import Features
from crew_moe.domain.policy import Policy
from crew_moe.domain.principal import Principal
from crew_moe.domain.registry import Registry
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.verdict import GateContext
from crew_moe.execution.errand import Errand, errand_of, payers_of
from crew_moe.execution.screened import Screened
from crew_moe.gating.access import AccessControl, access_control
from crew_moe.gating.approval import Desk
from crew_moe.gating.config import build_gate, read_gate
from crew_moe.gating.gatekeeper import Gatekeeper
from crew_moe.ports import Approvals, Clock, DecisionLog, EventSink, Ledger, Meters
from crew_moe.routing.features import extract
from crew_moe.safety import Safety
from crew_moe.state import MEMORY, open_approvals, open_ledger, open_meters

if TYPE_CHECKING:
    from crew_moe.execution.clearance import Barrier
    from crew_moe.screening.redaction import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """What a router's calls have to pass. A question to a person stands for `hold_s`; `key` names requests to them."""

    policy: Policy
    ledger: Ledger
    meters: Meters
    approvals: Approvals
    desk: Desk
    gatekeeper: Gatekeeper
    access: AccessControl
    safety: Safety
    clock: Clock
    sink: EventSink
    hold_s: float
    key: bytes

    @classmethod
    def in_memory(cls, policy: Policy, registry: Registry, *, log: DecisionLog, clock: Clock, sink: EventSink) -> Self:
        """Guards that forget everything when the process ends."""
        return cls.over(MEMORY, policy, registry, log=log, clock=clock, sink=sink)

    @classmethod
    def over(
        cls,
        url: str,
        policy: Policy,
        registry: Registry,
        *,
        log: DecisionLog,
        clock: Clock,
        sink: EventSink,
        key: str = "",
    ) -> Self:
        """Guards over the stores of a state URL. Raises ConfigError, MissingExtra, InvalidInput and StateError."""
        access = access_control(policy, registry)
        entry = read_gate(policy.gate)
        gate = build_gate(entry)
        meters, approvals = open_meters(url), open_approvals(url)
        desk = Desk(approvals, clock=clock, log=log, sink=sink, ttl_s=entry.approval.ttl_s)
        return cls(
            policy=policy,
            ledger=open_ledger(url, clock=clock),
            meters=meters,
            approvals=approvals,
            desk=desk,
            gatekeeper=Gatekeeper(
                gate,
                meters=meters,
                desk=desk,
                clock=clock,
                sink=sink,
                on_hold_timeout=entry.on_hold_timeout,
            ),
            access=access,
            safety=Safety(policy.screening, sink=sink),
            clock=clock,
            sink=sink,
            hold_s=entry.approval.ttl_s,
            key=digest(key, size=MAX_KEY_BYTES) if key else b"",
        )

    def busy_experts(self, now: datetime, registry: Registry) -> Mapping[str, datetime]:
        """Until when which experts have no room."""
        if not registry.limited:
            return {}
        return {key.partition(":")[2]: until for key, until in self.meters.busy(now, kind="expert").items()}

    def demanded(
        self, request: RoutingRequest, principal: Principal | None, demands: Demands, registry: Registry
    ) -> tuple[Features | None, Demands]:
        """`demands` and those of the access rules, with the request's features where a rule may look at them."""
        if not self.access:
            return None, demands
        features = extract(request)
        return features, self.access.over(registry).demands_of(request, principal, features).joined(demands)

    def screen(self, chat: ChatRequest, *, pii: str, vault: Vault | None = None) -> Screened:
        """What may be sent of a chat, and to whom; `pii` is the rule of the request, `vault` keeps what is redacted."""
        return self.safety.screen(chat, pii=pii, vault=vault)

    def barrier(self) -> Barrier:
        """What clears the executor's calls."""
        from crew_moe.execution.cashier import Cashier
        from crew_moe.execution.clearance import Barrier
        from crew_moe.execution.turnstile import Turnstile

        return Barrier(
            cashier=Cashier(ledger=self.ledger, policy=self.policy.budgets, clock=self.clock, sink=self.sink),
            turnstile=Turnstile(meters=self.meters, clock=self.clock, sink=self.sink),
            gatekeeper=self.gatekeeper,
            clock=self.clock,
        )

    def errand(
        self,
        request: RoutingRequest,
        *,
        task: str,
        principal: Principal | None = None,
        screened: Screened | None = None,
        opening: str = "",
    ) -> Errand:
        """Who pays for a request, within which limits, and what the gate is told of it.

        `opening` names the chat as it was before screening.
        """
        from crew_moe.execution.completing import task_limits

        errand = errand_of(
            payers_of(request, principal, task=task), self.policy.budgets, limits=task_limits(request, self.policy)
        )
        if screened is None or not (self.asks or screened.hold):
            return errand
        return self.with_context(
            errand,
            screened=screened,
            opening=opening or opening_of(screened.chat),
            principal=principal,
            max_cost_usd=request.budget_usd or Decimal(0),
            decision_id=task,
            task=request.task,
            task_type=str(request.task_type or ""),
            risk=str(request.risk or ""),
            tenant=request.tenant,
            user=request.user,
            channel=request.channel,
            run_id=request.run_id,
        )

    def with_context(
        self,
        errand: Errand,
        *,
        screened: Screened,
        opening: str,
        principal: Principal | None = None,
        approval: Tier | None = None,
        max_cost_usd: Decimal = Decimal(0),
        **told: object,
    ) -> Errand:
        """The errand with what the gate is told; without, where nobody would ask. `opening` names the exact request."""
        if not (self.asks or approval is not None or screened.hold):
            return errand
        context = GateContext(
            expert_id="",
            provider="",
            tier=Tier.FAST,
            digest=digest(opening, key=self.key, size=32).hex(),
            max_cost_usd=max_cost_usd,
            now=self.clock.now(),
            scores=screened.scores,
            approval=Tier.FAST if screened.hold else approval,
            **told,  # type: ignore[arg-type]  # names and types are those of the two callers
        )
        return replace(errand, context=context if principal is None else _authenticated(context, principal))

    @property
    def asks(self) -> bool:
        """Whether the gate has checks of its own, or a budget that a person may let a call pass."""
        budgets = self.policy.budgets
        holds = OnExhausted.HOLD in {budgets.on_exhausted, *(rule.on_exhausted for rule in budgets.rules.values())}
        return holds or len(self.gatekeeper.gate.checks) > 1

    def close(self) -> None:
        """Give connections back."""
        for store in (self.ledger, self.meters, self.approvals):
            store.close()


def opening_of(chat: ChatRequest) -> str:
    """A name for exactly this chat."""
    told: Mapping[str, object] = {
        "messages": list(chat.messages),
        "tools": list(chat.tools),
        "response_format": chat.response_format,
    }
    return json.dumps(told, sort_keys=True, default=str)


def _authenticated(context: GateContext, principal: Principal) -> GateContext:
    """What authentication says takes the place of what the request says of itself."""
    return replace(
        context,
        tenant=principal.tenant or context.tenant,
        user=principal.subject,
        roles=principal.roles,
        workspace=principal.workspace,
        channel=principal.channel or context.channel,
    )
