"""Experiments in a store: one runs at a time, counts of rivals add up, each decision counts once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from crew_moe.errors import StateError
from crew_moe.learning.experiment import Arm, Tally, Verdict
from crew_moe.learning.observed import Observed
from crew_moe.learning.trial_pages import PLAN, ROOM, RUNNING, SEEN, TALLY, Trial, TrialPages, ended, trial_of
from crew_moe.state import open_pages
from tests.learning.experiment.given import experiment
from tests.routing.given import NOW

SERVED = {"expert_id": "b", "success": True, "latency_ms": 700.0}


@pytest.fixture(params=["memory", "sqlite", "redis"])
def pages(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[TrialPages]:
    urls = {"memory": ":memory:", "sqlite": f"sqlite:///{tmp_path / 'state.db'}"}
    store = open_pages(urls.get(request.param) or request.getfixturevalue("redis_url"))
    yield TrialPages(store)
    store.close()


def _decision(number: int, *, seconds: int = 0) -> dict[str, str]:
    return {"decision_id": f"d-{number}", "created_at": (NOW + timedelta(seconds=seconds)).isoformat()}


def test_one_experiment_runs_at_a_time(pages: TrialPages) -> None:
    first, second = experiment(name="first"), experiment(name="second")

    assert pages.begin(first, NOW) is None
    assert pages.running(NOW) == Trial(experiment=first)
    for other in (first, second):
        assert pages.begin(other, NOW) == Trial(experiment=first)
    pages.change("first", lambda trial: ended(trial, NOW, winner="control"), NOW)
    assert pages.running(NOW) is None
    assert pages.begin(second, NOW) is None
    assert [trial.experiment.name for trial in pages.all(NOW)] == ["first", "second"]


def test_of_two_that_begin_at_once_one_runs(pages: TrialPages, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other begins while the first has said so and has not yet written its plan."""
    first, second = experiment(name="first"), experiment(name="second")
    other, write = TrialPages(pages.store), pages.store.write
    told: list[Trial | None] = []

    def rival(name: str, *given: Any, **how: Any) -> bool:
        if name == PLAN + "first" and not told:
            told.append(None)
            told.append(other.begin(second, NOW))
        return write(name, *given, **how)

    monkeypatch.setattr(pages.store, "write", rival)
    assert pages.begin(first, NOW) is None
    assert told[1] == pages.running(NOW) == Trial(experiment=first)
    assert pages.named("second", NOW) is None


def test_a_trial_survives_being_written(pages: TrialPages) -> None:
    pages.begin(experiment(by="risk", margins={"cost": 0.1}), NOW)
    won = Trial(
        experiment=experiment(by="risk", margins={"cost": 0.1}), verdict=Verdict.CANDIDATE_WINS, because="reward"
    )

    after, changed = pages.change("try", lambda _: won, NOW)
    assert (after, changed) == (won, True)
    assert pages.change("try", lambda _: won, NOW) == (won, False)
    assert pages.named("try", NOW) == won


def test_counts_of_rivals_add_up(pages: TrialPages) -> None:
    def count() -> None:
        for _ in range(10):
            pages.count("try", Tally.one(Arm.CONTROL, {"reward": 1.0}, unit=0), NOW)

    rivals = [threading.Thread(target=count) for _ in range(4)]
    for rival in rivals:
        rival.start()
    for rival in rivals:
        rival.join()

    assert pages.tally("try", NOW).of(Arm.CONTROL, "reward").n == 40


def test_later_parts_of_a_decision_are_told_beside_the_earlier_ones(pages: TrialPages) -> None:
    first = pages.observe("try", _decision(1), lambda seen: seen.served(SERVED, "planning"), NOW)
    second = pages.observe("try", _decision(1), lambda seen: seen.served(SERVED, "planning"), NOW)

    assert first is not None
    assert second is not None
    assert first[0] == Observed()
    assert second[0] == first[1]
    assert second[1].latency_ms == 1400.0


def test_a_decision_that_was_pushed_out_counts_no_second_time(
    pages: TrialPages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crew_moe.learning.trial_pages.PLACES", 1)
    for number in range(1, ROOM + 2):
        told = pages.observe("try", _decision(number, seconds=number), lambda seen: seen.served(SERVED, "x"), NOW)
        assert told is not None

    assert pages.observe("try", _decision(1, seconds=1), lambda seen: seen.served(SERVED, "x"), NOW) is None
    late = pages.observe("try", _decision(2, seconds=2), lambda seen: seen.served(SERVED, "x"), NOW)
    assert late is not None
    assert late[0] != Observed()
    assert len(pages.store.pages(SEEN, NOW)) == 1


def test_decisions_of_an_ended_experiment_are_forgotten_alone(pages: TrialPages) -> None:
    for name in ("try", "try2"):
        pages.observe(name, _decision(1), lambda seen: seen.served(SERVED, "planning"), NOW)

    pages.forget_decisions("try")

    assert [page.name.split("/")[2] for page in pages.store.pages(SEEN, NOW)] == ["try2"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"null", b'{"experiment": {}}'])
def test_what_is_no_trial_is_a_state_error(content: bytes) -> None:
    with pytest.raises(StateError, match="can't be read"):
        trial_of(content)


def test_broken_pages_are_state_errors() -> None:
    store = open_pages(":memory:")
    pages = TrialPages(store)
    store.write(PLAN + "try", b"?", NOW, over=0)
    store.write(RUNNING, json.dumps(Trial(experiment=experiment()).as_dict()).encode(), NOW, over=0)
    store.write(TALLY + "try", b"?", NOW, over=0)

    with pytest.raises(StateError, match="experiment"):
        pages.running(NOW)
    with pytest.raises(StateError, match="counts"):
        pages.tally("try", NOW)
    with pytest.raises(StateError, match="gone"):
        pages.change("other", lambda trial: trial, NOW)
