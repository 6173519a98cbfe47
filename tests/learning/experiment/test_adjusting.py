"""P-values of many questions."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from crew_moe.learning.experiment import adjusted
from tests.routing.given import STEADY

LEVELS = st.lists(st.floats(0.0, 1.0), max_size=30)


def _rejected(p_values: list[float], level: float) -> set[int]:
    """The step-up procedure as it was published: all up to the last that lies below its line."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    below = [rank for rank, index in enumerate(order, 1) if p_values[index] <= rank / len(p_values) * level]
    return set(order[: max(below, default=0)])


@settings(STEADY, max_examples=50)
@given(LEVELS, st.sampled_from([0.01, 0.05, 0.2]))
def test_adjusted_values_reject_what_the_procedure_rejects(p_values: list[float], level: float) -> None:
    found = adjusted(p_values)

    clear = {index for index, value in enumerate(found) if value <= level * (1 - 1e-9)}
    at_most = {index for index, value in enumerate(found) if value <= level * (1 + 1e-9)}
    assert clear <= _rejected(p_values, level) <= at_most


@settings(STEADY, max_examples=50)
@given(LEVELS)
def test_adjusting_makes_nothing_more_certain(p_values: list[float]) -> None:
    found = adjusted(p_values)

    assert all(before <= after * (1 + 1e-9) <= 1 + 1e-9 for before, after in zip(p_values, found, strict=True))
