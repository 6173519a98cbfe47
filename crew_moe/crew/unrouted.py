"""Calls that a crew makes past the router: through models that the catalogue does not know, or while routing is off.

They go where they want to go, but not unasked: access rules, the gate and exhausted budgets stop them before they are
made, and what they cost is charged once it is known. A hook that failed would let the call pass, so whatever goes wrong
here stops it.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from crewai.hooks import HookAborted, register_after_llm_call_hook, register_before_llm_call_hook

from crew_moe.crew.current import dispatcher_now, run_now
from crew_moe.crew.journal import UnroutedCall
from crew_moe.crew.models import expert_of
from crew_moe.crew.refusals import SOURCE
from crew_moe.domain.budget import ScopeKind
from crew_moe.domain.expert import Expert
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.task import Risk, TaskType
from crew_moe.errors import CrewMoEError, StateError
from crew_moe.execution.errand import Errand
from crew_moe.gating.hook import CrewHook, crewai_hook

if TYPE_CHECKING:
    from crew_moe.crew.payer import Payer

ROUTED: Final = "crew_moe"
_INSTALLED: Final[set[str]] = set()


def install() -> None:
    """Register with CrewAI, once a process."""
    if not _INSTALLED:
        _INSTALLED.add(ROUTED)
        register_before_llm_call_hook(_before)
        register_after_llm_call_hook(_after)


class Bypass:
    """What one crew's unrouted calls have to pass."""

    def __init__(self, payer: Payer) -> None:
        self._payer = payer
        self._router = payer.router

    @property
    def needed(self) -> bool:
        """Whether anything could stop such a call; CrewAI spends a tenth of a millisecond on hooks that do nothing."""
        run = run_now()
        if run is not None and (run.budgets or run.watch is not None):
            return True
        guards, payer = self._router.guards, self._payer
        limited = payer.principal is not None or payer.budget_nano is not None or bool(guards.policy.budgets.rules)
        return limited or guards.asks or bool(guards.access)

    def check(self, call: Any) -> None:
        """Raises HookAborted for a call that must not be made."""
        run = run_now()
        if run is not None and run.watch is not None and run.watch.cancelled():
            raise HookAborted("the run was cancelled", SOURCE)
        expert = self._expert_of(call.llm)
        reason = self._forbidden(expert) or self._exhausted(call.llm)
        if reason:
            raise HookAborted(f"{getattr(call.llm, 'model', 'the model')}: {reason}", SOURCE)
        if self._gate is not None:
            self._gate(call)

    def over(self, call: Any) -> None:
        """The call was answered."""
        if self._gate is not None:
            self._gate.after(call)

    def charge(self, call: UnroutedCall) -> None:
        """Book what a call has cost; nothing where no price is known."""
        errand = self._errand()
        if not call.cost_usd or not errand.scopes:
            return
        try:
            self._router.guards.ledger.charge(
                uuid4().hex, errand.scopes, usd=call.cost_usd, ceilings=errand.ceilings, note=f"unrouted {call.model}"
            )
        except StateError as error:
            self._router.sink.emit("charge_not_written", model=call.model, error=str(error))

    def _forbidden(self, expert: Expert | None) -> str:
        """Why the access rules are against this expert; a model that nobody knows can't be allowed by any."""
        access = self._router.guards.access
        if not access:
            return ""
        if expert is None:
            return "access rules hold, and the catalogue does not know this model: describe it in experts.yaml"
        request = RoutingRequest(task_type=TaskType.ANALYSIS, text="", risk=Risk.LOW)
        demands = access.over(self._router.registry).demands_of(request, self._payer.principal)
        rules = demands.rules_against(expert.expert_id)
        return f"forbidden by {' and '.join(repr(rule) for rule in rules)}" if rules else ""

    def _exhausted(self, llm: Any) -> str:
        """Which budget has nothing left for a call that costs something."""
        expert = self._expert_of(llm)
        if expert is not None and expert.is_free:
            return ""
        errand = self._errand()
        try:
            found = [self._router.guards.ledger.status(scope) for scope in errand.scopes]
        except StateError as error:
            return f"the ledger can't be reached: {error}"
        unused = {scope for scope, ceiling in errand.ceilings.items() if ceiling.limit_nano == 0}
        empty = [one.scope for one in found if one.blocked or one.available_usd == 0 or one.scope in unused]
        return f"the budget of {empty[0]} is used up" if empty else ""

    def _errand(self) -> Errand:
        """Who pays: the run, and whoever runs it."""
        run = run_now()
        return self._payer.charged(self._payer.who if run is None else {**self._payer.who, ScopeKind.RUN: run.name})

    def _expert_of(self, llm: Any) -> Expert | None:
        found = expert_of(llm, self._router.registry)
        return None if found is None else self._router.registry[found]

    @cached_property
    def _gate(self) -> CrewHook | None:
        """The gate as a hook; None while it has nothing to say."""
        guards = self._router.guards
        if not guards.asks:
            return None
        return crewai_hook(
            guards.gatekeeper,
            expert_of=self._expert_of,
            principal=self._payer.principal,
            wait_s=guards.hold_s,
            key=guards.key.hex(),
        )


def _before(call: Any) -> None:
    dispatcher = dispatcher_now()
    if dispatcher is None or getattr(call.llm, "llm_type", None) == ROUTED:
        return
    reason = ""
    try:
        dispatcher.bypass.check(call)
    except HookAborted:
        raise
    except CrewMoEError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - CrewAI lets the call pass on any other exception
        reason = f"the check of an unrouted call failed with {type(error).__name__}"
    if reason:  # raised out here: CrewAI reads an error's context for signs that the call is worth repeating
        raise HookAborted(reason, SOURCE)


def _after(call: Any) -> None:
    dispatcher = dispatcher_now()
    if dispatcher is not None and getattr(call.llm, "llm_type", None) != ROUTED:
        dispatcher.bypass.over(call)
