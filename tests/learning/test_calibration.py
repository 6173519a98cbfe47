"""Predicted against observed quality."""

from __future__ import annotations

import pytest

from crew_moe.learning.calibration import calibration


def test_right_predictions_have_no_error() -> None:
    found = calibration([(0.25, 0.25), (0.75, 0.75)])

    assert found is not None
    assert (found.count, found.ece, found.brier, found.bias) == (2, 0.0, 0.0, 0.0)


def test_errors_are_those_of_the_bins_by_their_counts() -> None:
    found = calibration([(0.92, 1.0), (0.98, 0.0), (0.92, 1.0), (0.98, 1.0), (0.1, 0.3)])

    assert found is not None
    low, high = found.bins
    assert (low.low, low.count, low.predicted, low.observed, low.error) == (0.1, 1, 0.1, 0.3, None)
    assert (high.low, high.high, high.count) == (0.9, 1.0, 4)
    assert (high.predicted, high.observed) == pytest.approx((0.95, 0.75))
    assert high.error == pytest.approx(0.25)
    assert found.ece == pytest.approx((4 * 0.2 + 0.2) / 5)
    assert found.bias == pytest.approx((4 * 0.2 - 0.2) / 5)
    assert found.brier == pytest.approx((2 * 0.08**2 + 0.98**2 + 0.02**2 + 0.2**2) / 5)


def test_errors_that_cancel_over_all_show_in_the_bins() -> None:
    found = calibration([(0.9, 0.4), (0.1, 0.6)])

    assert found is not None
    assert (found.bias, found.ece) == pytest.approx((0.0, 0.5))


@pytest.mark.parametrize(("predicted", "low"), [(0.0, 0.0), (1.0, 0.9), (0.3, 0.3), (-0.2, 0.0), (1.2, 0.9)])
def test_every_prediction_has_a_bin(predicted: float, low: float) -> None:
    found = calibration([(predicted, 0.5)])

    assert found is not None
    assert [one.low for one in found.bins] == [pytest.approx(low)]


def test_nothing_has_no_calibration() -> None:
    assert calibration([]) is None
