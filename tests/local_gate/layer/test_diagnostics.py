from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch

from crew_moe.local_gate.layer import Capacity, Overflow, Switch, TopK, diagnose

EVEN = torch.tensor([[9.0, 0.0], [0.0, 9.0], [9.0, 0.0], [0.0, 9.0]])
ONE = torch.tensor([[90.0, 0.0]]).expand(4, 2)


def test_even_routing() -> None:
    told = diagnose(TopK(k=1)(EVEN))

    assert (told.utilisation, told.used, told.entropy) == ((0.5, 0.5), 1, 1)
    assert (told.load_cv2, told.overflow_share, told.churn) == (0, 0, 1)
    assert told.importance_cv2 == pytest.approx(0)
    assert 0 < told.token_entropy < 0.01


def test_one_expert_for_all() -> None:
    told = diagnose(TopK(k=1)(ONE))

    assert (told.utilisation, told.used, told.entropy) == ((1, 0), 0.5, 0)
    assert (told.load_cv2, told.churn) == (1, 0)


@pytest.mark.parametrize(("overflow", "dropped"), [(Overflow.DROP, 0.5), (Overflow.REROUTE, 0.0)])
def test_rerouted_choices_overflow_but_are_not_dropped(overflow: Overflow, dropped: float) -> None:
    told = diagnose(Switch(capacity=Capacity(factor=1.0, overflow=overflow))(ONE))

    assert (told.overflow_share, told.dropped_share) == (0.5, dropped)


def test_churn_stops_at_the_end_of_a_sequence_and_at_padding() -> None:
    live = torch.tensor([True, True, False, True])

    assert diagnose(TopK(k=1)(EVEN[[0, 0, 1, 1]], sequences=2)).churn == 0
    assert diagnose(TopK(k=1)(EVEN, live=live)).churn == 1
    assert diagnose(TopK(k=1)(EVEN[[0, 0, 1, 1]])).churn == pytest.approx(1 / 3)
    assert diagnose(TopK(k=1)(EVEN[[0, 0, 1, 0]], live=live)).churn == 0


def test_diagnostics_of_nothing_are_numbers() -> None:
    told = diagnose(TopK(k=1)(torch.zeros(0, 3)))

    assert (told.utilisation, told.used, told.load_cv2, told.churn) == ((0, 0, 0), 0, 0, 0)
