"""What ends by time alone, what a fork inherits, what is given back, and what is refused rather than half done."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from typing import Any

import pytest

from crew_moe import Feedback, InvalidInput, RoutingRequest
from crew_moe.clock import ManualClock
from crew_moe.errors import InvalidRequest, NotAvailable
from tests.router.given import decided, refused, router
from tests.routing.given import NOW


def test_a_pin_ends_by_time_alone() -> None:
    clock = ManualClock(NOW)
    on = router(clock)
    on.pin("command-r", minutes=5)
    pinned = on.overrides_version()

    clock.advance(299)
    assert decided(on).expert_id == "command-r"
    clock.advance(2)

    assert decided(on).expert_id != "command-r"
    assert on.overrides_version() != pinned


def test_feedback_on_what_nobody_served_is_refused() -> None:
    on = router()
    alone = refused(on, min_quality=1.0)
    batch = on.decide_batch([RoutingRequest(task_type="planning", min_quality=1.0)])

    for answer in (alone, batch[0]):
        with pytest.raises(InvalidInput, match="no answer to judge"):
            on.feedback(Feedback(decision_id=answer.decision_id, source="a", quality=0.5))


def test_a_router_that_nobody_uses_is_given_back() -> None:
    gone = weakref.ref(router())
    gc.collect()

    assert gone() is None


def test_a_log_key_of_any_length_makes_digests_comparable(monkeypatch: pytest.MonkeyPatch) -> None:
    def text_digest() -> str:
        on = router()
        row = on.log.get(decided(on, text="Moby Dick").decision_id)
        assert row is not None
        return str(row["text_digest"])

    assert text_digest() != text_digest()
    monkeypatch.setenv("CREW_MOE_LOG_KEY", "k" * 1_000)
    assert text_digest() == text_digest()


def test_a_large_batch_takes_the_place_of_as_many_decisions() -> None:
    on = router()
    on.log._capacity = 100  # type: ignore[attr-defined]  # of state.memory_log.MemoryLog
    first = decided(on).decision_id
    ids = [on.decide_batch([RoutingRequest(task_type="planning")] * 60)[0].decision_id for _ in range(3)]

    assert on.log.get(first) is None
    kept = [on.log.get(decision_id.rpartition(".")[0]) is not None for decision_id in ids]
    assert kept == [False, False, True]


def test_a_fork_does_not_inherit_a_held_lock() -> None:
    clock = ManualClock(NOW)
    on = router(clock)
    held = on._boards._lock
    reader, writer = os.pipe()
    with held:
        child = os.fork()
        if child == 0:
            looker = threading.Thread(target=on.stats, daemon=True)
            looker.start()
            looker.join(10)
            os.write(writer, b"stuck" if looker.is_alive() else b"free")
            os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reader, 5) == b"free"


@pytest.mark.parametrize("parallel", [True, "auto", {"experts": 2}])
def test_completing_with_several_experts_is_refused_not_ignored(parallel: Any) -> None:
    with pytest.raises(NotAvailable, match="parallel"):
        router().complete(RoutingRequest(task_type="planning", text="plan it", parallel=parallel))


@pytest.mark.parametrize(
    "extra", [{"n": 3}, {"best_of": 2}, {"max_completion_tokens": 10**6}, {"service_tier": "priority"}]
)
def test_what_would_pass_the_reservation_is_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="would cost more than is put aside"):
        router().complete(RoutingRequest(task_type="planning", text="plan it"), extra=extra)
