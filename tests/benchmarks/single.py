"""decide(), one request at a time: beside litellm, over larger registries, over longer texts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from crew_moe import Decision, Infeasible, Outcome, Router, RoutingRequest
from tests.benchmarks.figure import Figure
from tests.benchmarks.litellm_peer import STRATEGIES, LitellmPeer, interpreter
from tests.benchmarks.material import fields_of, router_of, text_of, unseen_fields_of
from tests.benchmarks.measure import Timing, in_turns, sample_ns, timing

CHARS: Final = 200
OUTCOME_EVERY: Final = 20
OURS: Final = "crew-moe"
TARGETS: Final = {"simple-shuffle": 0.5, "latency-based-routing": 0.15}
NOTE: Final = "CPU p50, request validation included"
NUMBERS: Final = itertools.count()  # of requests; none is used twice
MakeFields = Callable[[int, int], dict[str, Any]]


def decide_timing(router: Router, *, chars: int, calls: int, make: MakeFields = fields_of) -> Timing:
    """CPU time of building a request out of plain fields and deciding it; the fields are made outside the sample."""
    fields = [make(chars, next(NUMBERS)) for _ in range(calls)]
    return timing(sample_ns(partial(_decide, router, fields), calls))


def _decide(router: Router, fields: Sequence[dict[str, Any]], number: int) -> Decision | Infeasible:
    return router.decide(RoutingRequest(**fields[number]))


def against_litellm(python: Path | None, *, calls: int, rounds: int) -> Iterator[Figure]:
    """decide() and five strategies of litellm over 18 experts, measured in turns."""
    router = router_of(18)
    with LitellmPeer(python or interpreter()) as peer:
        contenders: dict[str, Callable[[], Timing]] = {OURS: partial(decide_timing, router, chars=CHARS, calls=calls)}
        for strategy in STRATEGIES:
            contenders[strategy] = partial(peer.pick, strategy, text=text_of(CHARS), calls=calls)
        seen = in_turns(contenders, rounds)
    ours = seen.pop(OURS)
    figure = partial(Figure, group=f"decide() beside litellm's router: 18 experts, {CHARS} characters")
    yield figure(name="crew-moe decide()", value=ours.p50_us, unit="us", note=NOTE)
    yield figure(name="  p99 / p50", value=ours.p99_us / ours.p50_us, unit="x", at_most=4.0)
    for strategy, theirs in seen.items():
        yield figure(name=f"litellm {strategy}", value=theirs.p50_us, unit="us", note="CPU p50, the pick alone")
        ratio = ours.p50_us / theirs.p50_us
        yield figure(name=f"  crew-moe / {strategy}", value=ratio, unit="x", at_most=TARGETS.get(strategy))


def over_registries(*, calls: int, rounds: int) -> Iterator[Figure]:
    """decide() over 18, 100 and 1,000 experts: needs asked before, needs never seen, and while outcomes come in."""
    sizes = (18, 100, 1_000)
    contenders: dict[str, Callable[[], Timing]] = {}
    for size in sizes:
        known = partial(decide_timing, chars=CHARS, calls=calls)
        contenders[f"known {size}"] = partial(known, router_of(size))
        contenders[f"unseen {size}"] = partial(known, router_of(size), make=unseen_fields_of)
        contenders[f"learning {size}"] = partial(learning_timing, router_of(size), calls=calls)
    seen = in_turns(contenders, rounds)
    figure = partial(Figure, group=f"decide() over more experts: {CHARS} characters")
    for size in sizes:
        plain, learning = seen[f"known {size}"], seen[f"learning {size}"]
        yield figure(name=f"{size:,} experts", value=plain.p50_us, unit="us", note=NOTE)
        yield figure(name="  p99 / p50", value=plain.p99_us / plain.p50_us, unit="x", at_most=4.0)
        yield figure(name="  needs never seen before", value=seen[f"unseen {size}"].p50_us, unit="us")
        note = f"p99 {learning.p99_us:,.0f} us; an outcome every {OUTCOME_EVERY} decisions"
        yield figure(name="  while outcomes come in", value=learning.p50_us, unit="us", note=note)
    for kind, what in (("known", "1,000 experts / 18 experts"), ("unseen", "  the same, needs never seen before")):
        ratio = seen[f"{kind} 1000"].p50_us / seen[f"{kind} 18"].p50_us
        yield figure(name=what, value=ratio, unit="x", at_most=8.0)


def learning_timing(router: Router, *, calls: int) -> Timing:
    """As `decide_timing`, while each decision of some is followed by its outcome, outside the sample."""
    samples: list[int] = []
    for _ in range(0, calls, OUTCOME_EVERY):
        fields = [fields_of(CHARS, next(NUMBERS)) for _ in range(OUTCOME_EVERY)]
        samples += sample_ns(partial(_decide, router, fields), OUTCOME_EVERY)
        decision = _decide(router, fields, 0)
        if isinstance(decision, Decision):
            router.record(
                Outcome(decision_id=decision.decision_id, expert_id=decision.expert_id, success=True, latency_ms=900.0)
            )
    return timing(samples)


def over_texts(*, calls: int, rounds: int) -> Iterator[Figure]:
    """decide() over longer texts: the cost of a character must not grow with the text."""
    router = router_of(18)
    sizes = (200, 2_000, 20_000)
    seen = in_turns({f"{size}": partial(decide_timing, router, chars=size, calls=calls) for size in sizes}, rounds)
    figure = partial(Figure, group="decide() over longer texts: 18 experts")
    for size in sizes:
        yield figure(name=f"{size:,} characters", value=seen[f"{size}"].p50_us, unit="us", note=NOTE)
    short, middle, long = (seen[f"{size}"].p50_us for size in sizes)
    growth = ((long - middle) / 18_000) / ((middle - short) / 1_800)
    note = "cost of a character, 2,000 to 20,000 / 200 to 2,000"
    yield figure(name="  growth", value=growth, unit="x", at_most=1.3, note=note)
