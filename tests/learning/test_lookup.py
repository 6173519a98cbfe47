"""What is known of a request before it is decided: by whom the policy asks, for the one user, without ever waiting."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crew_moe import Decision, Feedback, Router, RoutingRequest
from crew_moe.clock import ManualClock
from crew_moe.domain.insight import Insight
from crew_moe.errors import ConfigError, StateError
from crew_moe.state.decision_log import Fault, verify
from crew_moe.state.memory.pages import MemoryPages
from crew_moe.telemetry.events import Recorder
from tests.state.given import NOW

EXPERT = "gpt-4o"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users are known by the same digests after a restart."""
    monkeypatch.setenv("CREW_MOE_LOG_KEY", "k" * 32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def _router(folder: Path, learning: str, *, strategy: str = "score", state: str = ":memory:") -> Router:
    (folder / "policy.yaml").write_text(f"strategy: {strategy}\nlearning: {learning}\n", encoding="utf-8")
    return Router.from_config(folder, state=state, clock=ManualClock(NOW), sink=Recorder())


def _insight(on: Router, **fields: Any) -> Insight | None:
    assert isinstance(on.clock, ManualClock)
    on.clock.advance(1.0)
    return on.learner.insight(RoutingRequest(**{"task_type": "planning", "text": "Plan", **fields}), None, on.registry)


def _known(on: Router, **fields: Any) -> Insight:
    found = _insight(on, **fields)
    assert found is not None
    return found


def _rated(on: Router, rating: int, source: str, **fields: Any) -> None:
    decision = on.decide(RoutingRequest(task_type="planning", pin=EXPERT, **fields))
    on.feedback(Feedback(decision_id=decision.decision_id, source=source, rating=rating))


def test_a_policy_that_asks_for_nothing_gets_nothing_and_loads_nothing(folder: Path) -> None:
    on = _router(folder, "{}")

    assert _insight(on) is None
    assert not {"_lookup", "_loop"} & set(vars(on.learner))


def test_a_request_that_names_a_bandit_is_looked_up_for(folder: Path) -> None:
    on = _router(folder, "{}")
    found = _known(on, strategy="linucb")

    assert len(found.vector) == 32
    assert set(found.mean) == set(found.width) == {expert.expert_id for expert in on.registry.experts}
    assert found.mean[EXPERT] == pytest.approx(on.registry[EXPERT].quality)


def test_names_are_no_part_of_what_arms_learn_on(folder: Path) -> None:
    on = _router(folder, "{}", strategy="linucb")
    plain = _known(on).vector

    assert _known(on, user="anna", tenant="acme", project="p", session_key="s", channel="c", run_id="r").vector == plain


def test_a_model_that_can_not_be_read_is_told_when_the_router_opens(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere"):
        _router(folder, "{model: nowhere.npz}", strategy="learned")


def test_a_user_is_served_by_its_own_opinion(folder: Path) -> None:
    on = _router(folder, "{preferences: {samples: 1}}", strategy="learned")
    for number in range(3):
        _rated(on, 5, f"a{number}", user="anna")
        _rated(on, 1, f"b{number}", user="ben")
    catalogued = on.registry[EXPERT].quality

    assert _known(on, user="anna").quality == {EXPERT: pytest.approx(min(1.0, catalogued + 0.75 * 0.5))}
    assert _known(on, user="ben").quality == {EXPERT: pytest.approx(catalogued - 0.75 * 0.5)}
    assert _insight(on, user="carl") is None
    assert _insight(on) is None
    assert _insight(on, user="anna", tenant="acme") is None


def test_a_user_of_a_tenant_is_none_of_another(folder: Path) -> None:
    on = _router(folder, "{preferences: {samples: 1}}", strategy="learned")
    _rated(on, 5, "a", user="anna", tenant="acme")
    _rated(on, 1, "b", user="anna", tenant="other")

    acme, other = (_known(on, user="anna", tenant=tenant).quality[EXPERT] for tenant in ("acme", "other"))
    assert acme > other


def test_preferences_change_who_serves_one_user(folder: Path) -> None:
    on = _router(folder, "{preferences: {samples: 0.5}}", strategy="learned")
    request = RoutingRequest(task_type="planning", text="Plan")
    usual = _served(on, request)
    for number in range(6):
        for user, rating in (("anna", 1), ("ben", 5)):
            found = on.decide(request.model_copy(update={"user": user, "pin": usual}))
            on.feedback(Feedback(decision_id=found.decision_id, source=f"{user}{number}", rating=rating))
    assert isinstance(on.clock, ManualClock)
    on.clock.advance(1.0)

    assert _served(on, request.model_copy(update={"user": "anna"})) != usual


def _served(on: Router, request: RoutingRequest) -> str:
    decision = on.decide(request)
    assert isinstance(decision, Decision)
    return decision.expert_id


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    here = {"memory": ":memory:", "sqlite": f"sqlite:///{tmp_path}/state.db"}
    return here.get(request.param) or str(request.getfixturevalue("redis_url"))


@pytest.fixture
def on(folder: Path, url: str) -> Iterator[Router]:
    with _router(folder, "{preferences: {samples: 1}}", strategy="learned", state=url) as opened:
        yield opened


def test_nothing_of_a_user_is_left_after_it_is_forgotten(on: Router) -> None:
    _rated(on, 5, "a", user="anna-lindqvist")
    _rated(on, 1, "b", user="ben")
    assert on.forget("anna-lindqvist") == 1
    assert on.forget("anna-lindqvist") == 0
    on.log.flush()

    whole = list(on.log.chain())  # type: ignore[attr-defined]
    committed = next(row for row in (json.loads(one.row) for one in whole) if row.get("identity"))["identity"]["user"]
    kept = on.learner.pages.pages("", on.clock.now())
    assert committed not in str(kept)
    assert len([page for page in kept if page.name.startswith("learning/user/")]) == 1  # the other user's
    assert "anna" not in str(kept) + str(whole)
    assert {finding.fault for finding in verify(whole)} <= {Fault.UNCLOSED}
    assert _insight(on, user="anna-lindqvist") is None


def test_what_was_at_hand_of_a_user_is_dropped_with_it(folder: Path) -> None:
    on = _router(folder, "{preferences: {samples: 1}}", strategy="learned")
    _rated(on, 5, "a", user="anna")
    _rated(on, 1, "b", user="ben")
    _insight(on, user="anna")
    _insight(on, user="ben")

    on.forget("anna")

    assert len(on.learner._lookup.knowledge._users) == 1


def test_no_file_of_the_state_ever_held_the_name(folder: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/whole.db"
    with _router(folder, "{preferences: {samples: 1}}", strategy="learned", state=url) as on:
        _rated(on, 5, "a", user="anna-lindqvist")
        on.forget("anna-lindqvist")
        on.log.flush()
        held = b"".join(file.read_bytes() for file in tmp_path.glob("whole.db*"))

    assert b"planning" in held
    assert b"anna" not in held


def test_a_lost_store_leaves_what_was_known(folder: Path) -> None:
    on = _router(folder, "{}", strategy="linucb")
    _rated(on, 1, "a")
    before = _known(on).mean

    class Lost(MemoryPages):
        def version(self) -> int:
            raise StateError("gone")

    on.learner.__dict__["_lookup"].knowledge._pages = Lost()
    assert _known(on).mean == before
    assert "learning_lost" in [event for event, _ in on.learner._sink.events]  # type: ignore[attr-defined]
