"""How the traffic of a gate is described."""

from __future__ import annotations

import pytest

from crew_moe.local_gate.gate.diagnostics import Journal, Seen, churn, diagnose


def seen(*experts: str, session: str | None = None) -> list[Seen]:
    return [Seen(expert=one, probabilities={one: 0.8, "x": 0.2}, session=session) for one in experts]


def test_even_traffic_is_balanced() -> None:
    told = diagnose(seen("a", "b", "a", "b"), ("a", "b"))

    assert told.utilisation == {"a": 0.5, "b": 0.5}
    assert (told.choices, told.entropy, told.load_cv2) == (4, 1.0, 0.0)
    assert told.importance_cv2 == pytest.approx(0.0)
    assert told.confidence == pytest.approx(0.8)


def test_one_sided_traffic_shows() -> None:
    told = diagnose(seen("a", "a", "a"), ("a", "b", "c"))

    assert told.utilisation == {"a": 1.0, "b": 0.0, "c": 0.0}
    assert told.entropy == 0.0
    assert told.load_cv2 == pytest.approx(2.0)


def test_churn_is_counted_within_sessions() -> None:
    first, second = seen("a", "a", "b", session="1"), seen("b", "b", "b", session="2")
    mixed = [one for pair in zip(first, second, strict=True) for one in pair]

    assert churn(mixed) == pytest.approx(1 / 4)
    assert churn(seen("a", "b", "a")) == 1.0
    assert churn(seen("a")) == 0.0


def test_overflow_is_a_share_of_the_choices() -> None:
    over = Seen(expert="b", probabilities={"a": 0.7, "b": 0.3}, overflowed=True)

    assert diagnose([*seen("a", "a", "a"), over], ("a", "b")).overflow == 0.25


def test_nothing_seen_yet_is_no_error() -> None:
    told = diagnose((), ("a", "b"))

    assert (told.choices, told.load_cv2, told.churn, told.overflow) == (0, 0.0, 0.0, 0.0)


def test_journal_keeps_the_last_choices() -> None:
    journal = Journal(kept=2)
    for one in seen("a", "b", "c"):
        journal.note(one)

    assert [one.expert for one in journal.choices()] == ["b", "c"]
