"""The benchmarks judge their own figures rightly."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.benchmarks.figure import Figure
from tests.benchmarks.measure import Timing, in_turns, quantile, timing
from tests.benchmarks.report import show


@pytest.mark.parametrize(
    ("value", "at_most", "at_least", "ok"),
    [
        (3.0, 4.0, None, True),
        (5.0, 4.0, None, False),
        (5.0, None, 4.0, True),
        (3.0, None, 4.0, False),
        (3.0, None, None, None),
    ],
)
def test_figure_knows_whether_it_meets_its_target(
    value: float, at_most: float | None, at_least: float | None, ok: bool | None
) -> None:
    figure = Figure(group="g", name="n", value=value, unit="us", at_most=at_most, at_least=at_least)

    assert figure.ok is ok


def test_table_says_miss() -> None:
    written = io.StringIO()

    show([Figure(group="g", name="slow thing", value=9.0, unit="us", at_most=4.0)], Console(file=written, width=200))

    assert "MISS" in written.getvalue()


def test_quantiles_of_samples() -> None:
    samples = [float(number) for number in range(100)]

    assert (quantile(samples, 0.5), quantile(samples, 0.99), quantile([1.0], 0.99)) == (50.0, 99.0, 1.0)


def test_timing_is_in_microseconds_without_the_clock() -> None:
    measured = timing([1_000_000] * 10)

    assert 900 < measured.p50_us <= 1_000


def test_turns_take_the_median_and_drop_the_warm_up() -> None:
    turns = iter([Timing(100.0, 100.0), Timing(1.0, 2.0), Timing(3.0, 4.0), Timing(2.0, 3.0)])

    assert in_turns({"one": lambda: next(turns)}, rounds=3) == {"one": Timing(2.0, 3.0)}
