"""The writer's thread: it groups, never blocks the caller, survives its storage and its builders, and closes well."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from structlog.testing import capture_logs

from crew_moe.errors import StateError
from crew_moe.state import log_writer
from crew_moe.state.decision_log import CLOSING, Envelope, Fault, verify
from crew_moe.state.log_writer import LogWriter
from tests.state.given import row_of

PATIENCE_S = 10.0


class Disk:
    """Storage that keeps what it gets, can be stopped in the middle of a commit, and can break."""

    def __init__(self) -> None:
        self.commits: list[list[Envelope]] = []
        self.broken: Exception | None = None
        self.fails_once: Exception | None = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.entered = threading.Event()
        self.stored = threading.Event()

    def store(self, envelopes: Sequence[Envelope]) -> None:
        self.entered.set()
        assert self.may_go_on.wait(PATIENCE_S)
        broken, self.fails_once = self.broken or self.fails_once, None
        if broken is not None:
            raise broken
        self.commits.append(list(envelopes))
        self.stored.set()

    @property
    def chain(self) -> list[Envelope]:
        return [envelope for commit in self.commits for envelope in commit]


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def make(disk: Disk) -> Iterator[Callable[..., LogWriter]]:
    made: list[LogWriter] = []

    def writer(*, capacity: int = 10_000, commit_within_s: float = 0.001, retry_after_s: float = 60.0) -> LogWriter:
        made.append(
            LogWriter(disk.store, capacity=capacity, commit_within_s=commit_within_s, retry_after_s=retry_after_s)
        )
        return made[-1]

    yield writer
    disk.may_go_on.set()
    for one in made:
        one.close()


def _append(writer: LogWriter, *numbers: int) -> None:
    for number in numbers:
        writer.append(f"d{number}", row_of(number))


def _stop_in_a_commit(writer: LogWriter, disk: Disk) -> None:
    """Row 0 is on its way to the disk, which takes its time."""
    disk.may_go_on.clear()
    _append(writer, 0)
    assert disk.entered.wait(PATIENCE_S)


def test_rows_reach_the_disk_unasked(make: Callable[..., LogWriter], disk: Disk) -> None:
    _append(make(), 1)

    assert disk.stored.wait(PATIENCE_S)


def test_flush_stores_everything_in_one_linked_chain(make: Callable[..., LogWriter], disk: Disk) -> None:
    writer = make()
    for first in (0, 10, 20):
        _append(writer, *range(first, first + 10))
        writer.flush()

    assert [envelope.decision_id for envelope in disk.chain] == [f"d{number}" for number in range(30)]
    assert [finding.fault for finding in verify(disk.chain)] == [Fault.UNCLOSED]


def test_rows_of_a_short_while_share_a_commit(make: Callable[..., LogWriter], disk: Disk) -> None:
    writer = make(commit_within_s=60.0)
    _append(writer, *range(100))
    writer.flush()

    assert [len(commit) for commit in disk.commits] == [100]


def test_flush_of_nothing_returns_at_once(make: Callable[..., LogWriter]) -> None:
    make().flush()


def test_rows_are_visible_until_they_are_stored(make: Callable[..., LogWriter], disk: Disk) -> None:
    writer = make()
    _stop_in_a_commit(writer, disk)
    _append(writer, 1)

    assert [decision_id for _, decision_id, _, _ in writer.newest(5)] == ["d1", "d0"]
    assert writer.find("d0") is not None
    disk.may_go_on.set()
    writer.flush()
    assert writer.newest(5) == []
    assert writer.find("d0") is None


def test_full_queue_drops_counts_and_leaves_a_gap(make: Callable[..., LogWriter], disk: Disk) -> None:
    writer = make(capacity=3)
    _stop_in_a_commit(writer, disk)
    _append(writer, 1, 2, 3, 4)
    with capture_logs() as logs:
        disk.may_go_on.set()
        writer.flush()
        _append(writer, 5)
        writer.flush()

    assert writer.dropped == 2
    assert (Fault.GAP, 6) in [(finding.fault, finding.sequence) for finding in verify(disk.chain)]
    assert [entry["dropped"] for entry in logs if entry["event"] == "decision_rows_dropped"] == [2]


def _bad_builder() -> Mapping[str, Any]:
    raise RuntimeError("no such feature")


@pytest.mark.parametrize("bad", [_bad_builder, lambda: {"score": float("nan")}], ids=["raises", "not JSON"])
def test_row_that_cannot_be_built_is_logged_and_left_out(
    make: Callable[..., LogWriter], disk: Disk, bad: Callable[[], Mapping[str, Any]]
) -> None:
    writer = make()
    with capture_logs() as logs:
        _append(writer, 1)
        writer.append("bad", bad)
        _append(writer, 3)
        writer.flush()

    assert writer.failed == 1
    assert [envelope.sequence for envelope in disk.chain] == [1, 3]
    assert [entry["decision_id"] for entry in logs] == ["bad"]
    assert (Fault.GAP, 3) in [(finding.fault, finding.sequence) for finding in verify(disk.chain)]


def test_commit_of_nothing_but_bad_rows_goes_on(make: Callable[..., LogWriter], disk: Disk) -> None:
    writer = make(commit_within_s=60.0)
    writer.append("bad", _bad_builder)
    writer.flush()
    _append(writer, 2)
    writer.flush()

    assert [envelope.sequence for envelope in disk.chain] == [2]


@pytest.mark.parametrize("error", [StateError("disk full"), OSError("gone")])
def test_broken_disk_never_reaches_append_and_flush_says_so(
    make: Callable[..., LogWriter], disk: Disk, error: Exception
) -> None:
    writer = make()
    _append(writer, 0)
    writer.flush()
    disk.broken = error
    with capture_logs() as logs:
        _append(writer, 1)
        with pytest.raises(StateError, match="1 rows of the decision log are not stored yet"):
            writer.flush()
        with pytest.raises(StateError, match="1 rows"):
            writer.flush()

    assert [(entry["event"], entry["error"]) for entry in logs] == [("decision_log_not_stored", str(error))]


def test_flush_is_not_blamed_for_a_try_that_began_before_it(make: Callable[..., LogWriter], disk: Disk) -> None:
    writer = make()
    _stop_in_a_commit(writer, disk)
    disk.fails_once = StateError("locked")
    with ThreadPoolExecutor(1) as pool, capture_logs():
        flushed = pool.submit(writer.flush)
        with writer._wake:
            assert writer._wake.wait_for(lambda: writer._urgent, PATIENCE_S)
        disk.may_go_on.set()
        flushed.result(PATIENCE_S)

    assert [envelope.decision_id for envelope in disk.chain] == ["d0"]


def test_rows_wait_for_the_disk_to_come_back(make: Callable[..., LogWriter], disk: Disk) -> None:
    disk.broken = StateError("locked")
    writer = make()
    _append(writer, 1)
    with pytest.raises(StateError):
        writer.flush()
    disk.broken = None
    _append(writer, 2)
    writer.flush()

    assert [envelope.sequence for envelope in disk.chain] == [1, 2]
    assert [finding.fault for finding in verify(disk.chain)] == [Fault.UNCLOSED]


def test_rows_are_tried_again_without_anybody_asking(make: Callable[..., LogWriter], disk: Disk) -> None:
    disk.broken = StateError("locked")
    writer = make(retry_after_s=0.001)
    _append(writer, 1)
    with pytest.raises(StateError):
        writer.flush()
    disk.broken = None

    assert disk.stored.wait(PATIENCE_S)


def test_close_stores_the_rest_and_ends_the_chain(make: Callable[..., LogWriter], disk: Disk) -> None:
    writer = make(commit_within_s=60.0)
    _append(writer, 1, 2)
    writer.close()
    _append(writer, 3)

    assert [envelope.decision_id for envelope in disk.chain] == ["d1", "d2", CLOSING]
    assert verify(disk.chain) == ()
    assert writer.dropped == 1


def test_close_waits_for_a_commit_under_way(make: Callable[..., LogWriter], disk: Disk) -> None:
    writer = make()
    _stop_in_a_commit(writer, disk)
    closing = threading.Thread(target=writer.close)
    closing.start()
    disk.may_go_on.set()
    closing.join(PATIENCE_S)

    assert [envelope.decision_id for envelope in disk.chain] == ["d0", CLOSING]


def test_close_with_a_broken_disk_says_how_many_rows_are_lost(make: Callable[..., LogWriter], disk: Disk) -> None:
    writer = make(commit_within_s=60.0)
    _append(writer, 1, 2)
    disk.broken = StateError("gone")
    with capture_logs() as logs:
        writer.close()

    lost = [entry["rows"] for entry in logs if entry["event"] == "decision_rows_lost"]
    assert lost == [3]  # with the closing row


def test_writer_without_a_row_starts_no_thread(make: Callable[..., LogWriter], disk: Disk) -> None:
    writer = make()
    assert writer._thread is None

    writer.close()
    assert disk.commits == []


def test_forked_child_starts_a_chain_of_its_own(make: Callable[..., LogWriter], disk: Disk) -> None:
    writer = make()
    _append(writer, 1)
    writer.flush()
    parent = writer.writer_id

    writer.begin_anew()
    _append(writer, 2)
    writer.flush()

    assert [(envelope.writer, envelope.sequence) for envelope in disk.chain] == [(parent, 1), (writer.writer_id, 1)]
    assert parent != writer.writer_id


def test_program_that_forgets_to_close_loses_nothing(make: Callable[..., LogWriter], disk: Disk) -> None:
    _append(make(commit_within_s=60.0), 1)

    log_writer._close_all()

    assert [envelope.decision_id for envelope in disk.chain] == ["d1", CLOSING]
