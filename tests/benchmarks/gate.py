"""What everything between a decision and a call costs, and what screening costs beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import Final

from crew_moe import Router
from crew_moe.domain.budget import Ceiling
from crew_moe.domain.expert import Tier
from crew_moe.domain.screening import Concern
from crew_moe.domain.verdict import GateContext
from crew_moe.execution.clearance import Asking, Barrier, Clearance
from crew_moe.execution.errand import Errand
from crew_moe.gating.approval import Desk
from crew_moe.gating.checks import budget_left, cooldown, has_any_role, max_concurrency, quiet_hours
from crew_moe.gating.gate import Gate
from crew_moe.gating.gatekeeper import Gatekeeper
from crew_moe.ports import Detector
from crew_moe.screening.injection import InjectionDetector
from crew_moe.screening.pii.detector import PiiDetector
from crew_moe.screening.toxicity import ToxicityDetector
from tests.benchmarks.figure import Figure
from tests.benchmarks.material import router_of, text_of
from tests.benchmarks.measure import Timing, in_turns, sample_ns, timing

PREMIUM: Final = "claude-opus-4"
SCOPES: Final = ("tenant:bench", "project:bench/web", "run:bench/1", "task:bench/1")
CHARS: Final = 10_000
DETECTORS: Final[dict[Concern, Callable[[], Detector]]] = {
    Concern.PII: PiiDetector,
    Concern.INJECTION: InjectionDetector,
    Concern.TOXICITY: ToxicityDetector,
}


def gates(*, calls: int, rounds: int) -> Iterator[Figure]:
    """Clearing and closing one call over memory stores; each detector over new text."""
    with router_of(18) as router:
        barrier, plain, gated = _barrier(router), _asking(router, None), _asking(router, _context(router))
        contenders = {
            "budget": partial(_passages, barrier, plain, calls),
            "gate": partial(_passages, barrier, gated, calls),
        }
        few = max(3, calls // 100)
        contenders |= {concern.value: partial(_assessments, make(), few) for concern, make in DETECTORS.items()}
        seen = in_turns(contenders, rounds)
    figure = partial(Figure, group="gate: one call cleared before it, settled after it (memory stores)", unit="us")
    yield figure(name="budget of four scopes, no checks", value=seen["budget"].p50_us, note="CPU p50")
    note = "roles, cooldown, places, quiet hours, budget left; no extras, no screening"
    yield figure(name="budget and a gate of five checks", value=seen["gate"].p50_us, at_most=1_000.0, note=note)
    screen = partial(Figure, group=f"screening: CPU p50 per 1,000 characters of new text, of {CHARS:,}", unit="us")
    for concern in DETECTORS:
        yield screen(name=concern.value, value=seen[concern.value].p50_us * 1_000 / CHARS, at_most=2_000.0)


def _barrier(router: Router) -> Barrier:
    guards = router.guards
    checks = (
        has_any_role("lead", "admin"),
        cooldown(10**6, 1.0),
        max_concurrency(10**6),
        quiet_hours("00:00", "00:01", tz="UTC"),
        budget_left(0.01),
    )
    desk = Desk(guards.approvals, clock=router.clock, log=router.log, sink=router.sink)
    keeper = Gatekeeper(Gate(checks), meters=guards.meters, desk=desk, clock=router.clock, sink=router.sink)
    made = guards.barrier()
    return Barrier(cashier=made.cashier, turnstile=made.turnstile, gatekeeper=keeper, clock=router.clock)


def _context(router: Router) -> GateContext:
    return GateContext(
        expert_id="",
        provider="",
        tier=Tier.FAST,
        digest="bench",
        max_cost_usd=Decimal(0),
        now=router.clock.now(),
        tenant="bench",
        user="ann",
        roles=frozenset({"lead"}),
    )


def _asking(router: Router, context: GateContext | None) -> Asking:
    ceilings = {scope: Ceiling(limit_nano=10**18) for scope in SCOPES}
    return Asking(
        expert=router.registry[PREMIUM],
        errand=Errand(scopes=SCOPES, ceilings=ceilings, context=context),
        bound=4_000,
        estimate=1_000,
        cap=1_000,
        least=64,
        time_s=30.0,
        note="bench",
    )


def _passages(barrier: Barrier, asking: Asking, calls: int) -> Timing:
    def once(_: int) -> None:
        found = barrier.clear(asking)
        assert isinstance(found, Clearance), found
        barrier.close(found, charge_nano=1_000, usage=None)

    return timing(sample_ns(once, calls))


def _assessments(detector: Detector, calls: int) -> Timing:
    text = text_of(CHARS)
    return timing(sample_ns(lambda _: detector.assess(text), calls))
