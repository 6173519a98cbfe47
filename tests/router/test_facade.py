"""The router as a whole: ids, threads, forks, calls for real, looking, closing."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pytest

from crew_moe import Outcome, Router, RoutingRequest
from crew_moe.domain.decision import Decision
from crew_moe.errors import ConfigError, InvalidInput
from tests.router.given import decided, refused, router
from tests.routing.given import rules

WORK = 150


def test_threads_decide_and_record_without_losing_anything() -> None:
    on = router()

    def work(number: int) -> set[str]:
        ids = set()
        for turn in range(WORK):
            found = decided(on, min_quality=(turn % 7) / 10, task=f"t{number}")
            ids.add(found.decision_id)
            if turn % 3 == 0:
                on.record(Outcome(decision_id=found.decision_id, expert_id=found.expert_id, success=turn % 2 == 0))
            if turn % 50 == 0:
                on.pin("gpt-4o", task=f"pinned-{number}")
        return ids

    with ThreadPoolExecutor(8) as pool:
        ids = set().union(*pool.map(work, range(8)))

    assert len(ids) == 8 * WORK
    assert sum(on.stats()["calls"].values()) == pytest.approx(8 * WORK / 3)
    assert all(on.explain(decision_id).matches for decision_id in list(ids)[:20])


def _ids_of_a_child(on: Router, found: SimpleQueue[str]) -> None:
    found.put(decided(on).decision_id)


def test_a_forked_child_has_ids_of_its_own() -> None:
    on = router()
    decided(on)
    fork = multiprocessing.get_context("fork")
    found: SimpleQueue[str] = fork.SimpleQueue()
    child = fork.Process(target=_ids_of_a_child, args=(on, found))

    child.start()
    child.join(30)

    assert child.exitcode == 0
    assert found.get().rpartition("-")[0] != decided(on).decision_id.rpartition("-")[0]


def test_calls_keep_to_what_can_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("COHERE_API_KEY", " ")
    on = router()

    found = on.decide(RoutingRequest(task_type="planning"), for_call=True)

    assert isinstance(found, Decision)
    turned_away = rules(found)
    assert turned_away["command-r"] == turned_away["claude-haiku-4-5"] == "no_credentials"
    assert turned_away["o1-mini"] == "retired"
    assert found.expert_id.startswith("gpt-")
    assert "o1-mini" not in rules(decided(on))


def test_live_decisions_keep_to_what_can_be_called_too() -> None:
    on = router(live=True)

    found = refused(on)

    assert found.binding in ("retired", "no_credentials", "named_only")
    assert {"retired", "no_credentials"} <= {row.rule for row in found.rejections}
    assert decided(on, pii="local_only", task_type="tool_use").expert_id == "local/auto"


def test_with_an_address_for_all_no_key_is_needed() -> None:
    on = router(base_url="http://127.0.0.1:9")

    found = on.decide(RoutingRequest(task_type="planning"), for_call=True)

    assert isinstance(found, Decision)
    assert {"no_credentials", "retired"}.isdisjoint(rules(found).values())


def test_health_tells_whether_an_expert_can_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_API_KEY", "key")
    by_id = {row.expert_id: row for row in router().health()}

    assert by_id["mistral-small-4"].available
    assert by_id["gpt-4o"].reason == "OPENAI_API_KEY is not set"
    assert by_id["mistral-small-2"].reason == "retired by its provider"


def test_stats_name_versions_calls_and_breakers() -> None:
    on = router()
    for number in range(5):
        found = decided(on)
        on.record(Outcome(decision_id=found.decision_id, expert_id="gpt-4o", success=False, attempt=number + 1))

    stats = on.stats()
    assert stats["policy_version"] == on.policy.version
    assert stats["registry_digest"] == on.registry.digest
    assert stats["calls"] == {"gpt-4o": 5.0}
    assert stats["open_breakers"] == ["expert:gpt-4o", "provider:openai"]
    assert stats["provider_share"] == {"openai": 0.2}


def test_experts_are_compared_best_first() -> None:
    rows = router().experts(RoutingRequest(task_type="planning"), top=2)

    assert [row.score for row in rows] == sorted((row.score for row in rows), reverse=True)
    assert len(rows) == 2


async def test_deciding_on_a_loop_is_the_same() -> None:
    on = router()

    found = await on.adecide(RoutingRequest(task_type="planning"))

    assert isinstance(found, Decision)
    assert found.expert_id == decided(on).expert_id


def test_closing_twice_is_no_error(tmp_path: Path) -> None:
    with Router.from_config(state=f"sqlite:///{tmp_path}/state.db") as on:
        decision = decided(on)
    on.close()

    with Router.from_config(state=f"sqlite:///{tmp_path}/state.db") as again:
        assert again.explain(decision.decision_id).matches


def test_a_wrong_folder_or_state_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        Router.from_config(tmp_path / "nowhere", state=":memory:")
    with pytest.raises(InvalidInput, match="names no state"):
        Router.from_config(state="sqlit:///x")


def test_decisions_hold_no_memory_beyond_the_log() -> None:
    on = router()
    on.log._capacity = 50  # type: ignore[attr-defined]  # of state.memory_log.MemoryLog
    first = decided(on).decision_id

    for _ in range(60):
        decided(on)

    assert on.log.get(first) is None
