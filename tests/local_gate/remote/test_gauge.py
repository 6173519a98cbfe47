"""One number out of a page of metrics, whatever the page is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.local_gate.remote.gauge import gauge

LINES = st.lists(
    st.sampled_from(
        [
            "q",
            "q{",
            'q{a="b"}',
            'q{a="} 1"}',
            " 1",
            " NaN",
            " -1",
            " 1e999",
            " 2 1700000000000",
            "_sum 3",
            "\n",
            "\r",
            "#",
        ]
    )
)


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("q 3\n", 3),
        ("q 3.0 1700000000000\n", 3),
        ('q{engine="0"} 1\nq{engine="1"} 4\n', 5),
        ('q{model="a } b \\" {c"} 2\n', 2),
        ("q\t2\r\n", 2),
        ("# HELP q Waiting.\n# TYPE q gauge\nq_total 9\nqueue 9\nq 0\n", 0),
        ("", None),
        ("q\nq{} \nq x\n", None),
        ("q NaN\n", None),
        ("q -1\n", None),
        ("q +Inf\nq 1\n", None),
    ],
)
def test_gauge_is_the_sum_of_its_series(page: str, expected: int | None) -> None:
    assert gauge(page, "q") == expected


@given(st.text() | LINES.map("".join))
def test_no_page_makes_it_raise(page: str) -> None:
    told = gauge(page, "q")

    assert told is None or told >= 0


@given(st.lists(st.integers(0, 10**6), min_size=1))
def test_every_series_counts(values: list[int]) -> None:
    page = "".join(f'q{{engine="{index}"}} {value}.0\n' for index, value in enumerate(values))

    assert gauge(page, "q") == sum(values)
