"""Texts in seed 003's words: at once, and as jobs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from crew_moe.clock import ManualClock
from crew_moe.domain.local_work import Work
from crew_moe.service.local.jobs import KEPT_S
from tests.local_gate.engine_hosts import PATIENCE_S, Held, Upper
from tests.service.local.serving import Local, engine_of, serving
from tests.waiting import until

SEEDS_FIELDS = {
    "result": str,
    "expert_used": str,
    "confidence": float,
    "processing_time": float,
    "input_features": dict,
}


def job_of(local: Local, job_id: str) -> dict[str, Any]:
    row: dict[str, Any] = local.client.get(f"/process/{job_id}").json()
    return row


def started(local: Local, text: str, **fields: Any) -> str:
    answer = local.process(text, "/process", **fields)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/process/{answer.json()['job_id']}"
    return str(answer.json()["job_id"])


def finished(local: Local, job_id: str) -> dict[str, Any]:
    until(lambda: job_of(local, job_id)["status"] != "processing")
    return job_of(local, job_id)


def test_an_answer_has_the_shape_of_the_seed(local: Local) -> None:
    row = local.process("What does this do?").json()

    assert {name: type(row[name]) for name in SEEDS_FIELDS} == SEEDS_FIELDS
    assert (row["result"], row["expert_used"], row["confidence"]) == ("WHAT DOES THIS DO?", "upper", 0.5)
    assert row["input_features"]["chars"] == 18
    assert (row["notice"], row["tried"], row["cached"]) == (None, {}, False)


@pytest.mark.parametrize(("expert", "used"), [("second", "second"), ("auto", "upper")])
def test_an_expert_may_be_named(local: Local, expert: str, used: str) -> None:
    row = local.process(f"for {expert}", expert=expert).json()

    assert row["expert_used"] == used
    assert row["confidence"] == (1.0 if expert == "second" else 0.5)


def test_a_wrong_option_is_not_blamed_on_the_text(local: Local) -> None:
    told = local.process("abc", options={"max_output_tokens": 0}).json()

    assert told["detail"] == "invalid_input: options.max_output_tokens must be a whole number of at least 1"


def test_an_embedding_is_a_list_of_numbers(local: Local) -> None:
    row = local.process("abc", task="embed").json()

    assert [round(number, 3) for number in row["result"]] == [0.577] * 3


def test_a_job_is_begun_and_its_answer_fetched(local: Local) -> None:
    row = finished(local, started(local, "slow words"))

    assert (row["status"], row["answer"]["result"], row["error"]) == ("done", "SLOW WORDS", None)
    assert row["characters"] == len("slow words")
    assert row["answer"]["usage"] == {"input_tokens": 3, "output_tokens": 3}
    assert 0 < row["expires_in_s"] <= KEPT_S


def test_a_job_that_fails_tells_why(local: Local) -> None:
    row = finished(local, started(local, " "))

    assert (row["status"], row["error"]["code"]) == ("failed", "invalid_input")


def test_a_wrong_expert_is_told_before_a_job_begins(local: Local) -> None:
    told = local.process("x", "/process", expert="uper").json()

    assert (told["status"], told["code"], told["closest"]) == (404, "unknown_expert", "upper")


def test_a_job_that_is_over_is_forgotten_when_it_is_dropped(local: Local) -> None:
    job_id = started(local, "forget me")
    finished(local, job_id)

    assert local.client.delete(f"/process/{job_id}").json()["status"] == "done"
    assert job_of(local, job_id)["code"] == "unknown_job"


class Dripping(Upper):
    """Gives the first character at once and the rest when it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.held = Held()

    def stream(self, work: Work) -> Iterator[str]:
        yield work.text[:1].upper()
        self.held([work.text])
        yield work.text[1:].upper()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def host() -> Iterator[Dripping]:
    made = Dripping()
    yield made
    made.held.go.set()


@pytest.fixture
def slow(clock: ManualClock, host: Dripping) -> Iterator[Local]:
    """Its expert waits, and its jobs expire by `clock`."""
    with serving(engine_of(host), jobs_clock=clock) as found:
        yield found
        host.held.go.set()


def test_a_job_tells_how_far_it_is_and_for_how_long(slow: Local, host: Dripping, clock: ManualClock) -> None:
    job_id = started(slow, "abc")
    assert host.held.began.wait(PATIENCE_S)
    clock.advance(2)

    until(lambda: job_of(slow, job_id)["characters"] == 1)
    row = job_of(slow, job_id)
    assert (row["status"], row["elapsed_s"], row["expires_in_s"]) == ("processing", 2.0, None)
    host.held.go.set()
    assert finished(slow, job_id)["answer"]["result"] == "ABC"


def test_a_job_under_way_is_cancelled(slow: Local, host: Dripping) -> None:
    job_id = started(slow, "abc")
    assert host.held.began.wait(PATIENCE_S)

    assert slow.client.delete(f"/process/{job_id}").json()["status"] == "cancelled"
    assert slow.client.get(f"/process/{job_id}").status_code == 404


def test_a_job_expires_after_its_end(slow: Local, host: Dripping, clock: ManualClock) -> None:
    host.held.go.set()
    job_id = started(slow, "abc")
    finished(slow, job_id)

    clock.advance(KEPT_S - 1)
    assert job_of(slow, job_id)["expires_in_s"] == 1.0
    clock.advance(2)
    assert slow.client.get(f"/process/{job_id}").status_code == 404


def test_a_client_that_hangs_up_ends_the_work() -> None:
    act = Held()
    host = Upper(act=act)
    with serving(engine_of(host, timeout_s=600.0)) as found:
        with pytest.raises(httpx.ReadTimeout):
            found.client.post("/process/sync", json={"text": "abc"}, timeout=0.3)
        until(lambda: any(work.gone is not None and work.gone() for work in host.works), PATIENCE_S / 3)
        act.go.set()
        assert found.process("another").json()["result"] == "ANOTHER"


def test_time_runs_out_with_the_three_suggestions_of_the_seed() -> None:
    act = Held()
    with serving(engine_of(Upper(act=act))) as late:
        told = late.process("abc", timeout_ms=50).json()
        act.go.set()

    assert (told["status"], told["code"]) == (504, "timeout")
    assert told["suggestions"] == [
        "break the text into smaller parts",
        "try again at a less busy time",
        "use a different model",
    ]
