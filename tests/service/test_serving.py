"""What ends a server."""

from __future__ import annotations

import gc
import signal
import warnings

import pytest

from crew_moe.service.serving import STOPS, until_told


@pytest.mark.parametrize("number", STOPS)
def test_told_to_end_a_program_ends_without_an_exception(number: signal.Signals) -> None:
    done = []
    with until_told():
        done.append("began")
        signal.raise_signal(number)
        done.append("went on")

    assert done == ["began"]


@pytest.mark.parametrize("again", STOPS)
def test_told_again_it_goes_on_ending(again: signal.Signals) -> None:
    done = []
    with until_told():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(again)
            done.append("tidied")

    assert done == ["tidied"]


def test_what_listened_to_signals_before_does_so_afterwards() -> None:
    before = [signal.getsignal(number) for number in STOPS]
    with until_told():
        signal.raise_signal(signal.SIGTERM)

    assert [signal.getsignal(number) for number in STOPS] == before


def test_two_that_come_at_once_are_both_heard_in_peace(capfd: pytest.CaptureFixture[str]) -> None:
    with until_told():
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        for number in STOPS:
            signal.raise_signal(number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)

    assert capfd.readouterr().err == ""


def test_told_before_its_first_coroutine_runs_it_warns_of_nothing() -> None:
    async def serve() -> None:
        raise AssertionError("never run")

    begun = []
    with warnings.catch_warnings(record=True) as told:
        with until_told():
            begun.append(serve())
            signal.raise_signal(signal.SIGTERM)
        begun.clear()
        gc.collect()

    assert [str(one.message) for one in told] == []
