"""Why experts were turned away, which constraint binds, and who missed it by least."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from crew_moe.domain.decision import Nearest, Rejection
from crew_moe.domain.money import NANO, to_usd
from crew_moe.routing.columns import Floats
from crew_moe.routing.cost import cost_of, prices_of
from crew_moe.routing.eligibility import BUDGET, CONTEXT, PRECEDENCE, RULED_OUT, TENANT, Miss, Scene
from crew_moe.routing.lane import BEFORE_CONTEXT, Lane, by_count, windows_of
from crew_moe.routing.needs import Needs, Terms

INFINITY: Final = float("inf")


def misses_of(lane: Lane, terms: Terms) -> Mapping[int, Sequence[Miss]]:
    """Every miss by registry position, each list in the order of precedence.

    Who serves another tenant alone is left out: those who ask are not to hear of it.
    """
    found: dict[int, list[Miss]] = {}
    for index, miss in (*lane.misses, *_window_misses(lane.scene, terms), *_budget_misses(lane.scene, terms)):
        found.setdefault(index, []).append(miss)
    for misses in found.values():
        misses.sort(key=lambda miss: PRECEDENCE.index(miss.rule))
    return {index: misses for index, misses in found.items() if misses[0].rule != TENANT}


def turned_away(lane: Lane, terms: Terms) -> Sequence[tuple[str, int]]:
    """How many experts each rule turned away, most first: the counts of `rejections`, without their sentences."""
    settled, rows, narrowest, plain = lane.census
    inputs, outputs, needed = terms.input_tokens, terms.output_tokens, terms.input_tokens + terms.output_tokens
    if terms.budget_nano is None and needed <= narrowest:
        return plain
    counts = dict(settled)
    limit = INFINITY if terms.budget_nano is None else terms.budget_nano / (1.0 + lane.scene.policy.cost.spread)
    for row in rows:
        rule = row.rule
        if row.per_input * inputs + row.per_output * outputs + row.constant > limit:
            rule = BUDGET
        elif row.window < needed and rule != BEFORE_CONTEXT:
            rule = CONTEXT
        if rule:
            counts[rule] = counts.get(rule, 0) + 1
    return by_count(counts)


def rejections(lane: Lane, terms: Terms) -> tuple[Rejection, ...]:
    """One row per rejected expert, in registry order: the first rule that it fails, and those it fails too."""
    misses = misses_of(lane, terms)
    return tuple(_rejection(lane.scene.columns.ids[index], misses[index]) for index in sorted(misses))


def nearest_miss(lane: Lane, terms: Terms) -> Nearest | None:
    """The expert that lacks least, and the rule that keeps it out by most; None for an empty registry."""
    misses = misses_of(lane, terms)
    if not misses:
        return None
    index = min(misses, key=lambda index: (sum(miss.distance for miss in misses[index]), index))
    binding = max(misses[index], key=lambda miss: miss.distance)
    return Nearest(
        expert_id=lane.scene.columns.ids[index],
        constraint=binding.rule,
        missed_by=binding.missed_by,
        detail=binding.detail,
    )


def infeasible_message(needs: Needs, terms: Terms, nearest: Nearest | None) -> str:
    """One sentence: what binds, within which other limits, and who came nearest."""
    if nearest is None:
        return "infeasible: the registry is empty"
    values = {
        "min_quality": needs.min_quality,
        "max_latency_ms": needs.max_latency_ms,
        BUDGET: None if terms.budget_nano is None else usd_text(terms.budget_nano),
        CONTEXT: f"{terms.input_tokens + terms.output_tokens:.0f}",
        "residency": needs.residency,
        "pin": needs.pin,
        "profile": needs.profile,
    }
    value = values.get(nearest.constraint)
    binding = nearest.constraint if value is None else f"{nearest.constraint} {value}"
    limits = [
        f"{name} {values[name]}" for name in (BUDGET, "min_quality", "max_latency_ms") if values[name] is not None
    ]
    within = ", ".join(limit for limit in limits if not limit.startswith(nearest.constraint))
    missed = "" if nearest.missed_by is None else f" by {nearest.missed_by:.4g}"
    return (
        f"infeasible: {binding}"
        + (f" within {within}" if within else "")
        + f"; nearest: {nearest.expert_id} misses {nearest.constraint}{missed} ({nearest.detail})"
    )


def usd_text(nano: float) -> str:
    """An amount as plain digits, without an exponent or trailing zeros."""
    text = f"{to_usd(round(nano)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _rejection(expert_id: str, misses: Sequence[Miss]) -> Rejection:
    first = misses[0]
    return Rejection(
        expert_id=expert_id,
        rule=first.rule,
        detail=first.detail,
        missed_by=first.missed_by,
        also=tuple(miss.rule for miss in misses[1:]),
    )


def _narrow(scene: Scene, terms: Terms) -> list[int]:
    """Experts whose window the request does not fit into."""
    return np.flatnonzero(windows_of(scene) < terms.input_tokens + terms.output_tokens).tolist()


def _dear(scene: Scene, terms: Terms) -> list[int]:
    """Experts that may cost more than the budget; compared as the choice compares it, to the last bit."""
    if terms.budget_nano is None:
        return []
    dear = _costs(scene, terms) > terms.budget_nano / (1.0 + scene.policy.cost.spread)
    return np.flatnonzero(dear).tolist()


def _costs(scene: Scene, terms: Terms) -> Floats:
    return cost_of(prices_of(scene.columns, scene.experience), terms.input_tokens, terms.output_tokens)


def _window_misses(scene: Scene, terms: Terms) -> Iterator[tuple[int, Miss]]:
    needed, windows = terms.input_tokens + terms.output_tokens, windows_of(scene)
    for index in _narrow(scene, terms):
        window = float(windows[index])
        over = needed - window
        yield index, Miss(CONTEXT, f"{needed:,.0f} tokens > window of {window:,.0f}", over, over / needed)


def _budget_misses(scene: Scene, terms: Terms) -> Iterator[tuple[int, Miss]]:
    budget = terms.budget_nano
    if budget is None:
        return
    costs, margin = _costs(scene, terms), 1.0 + scene.policy.cost.spread
    for index in _dear(scene, terms):
        nano = float(costs[index]) * margin
        over = max(0.0, nano - budget)
        detail = f"up to ${usd_text(nano)} > budget of ${usd_text(budget)}"
        yield index, Miss(BUDGET, detail, over / NANO, over / budget if budget else RULED_OUT)
