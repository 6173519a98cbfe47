"""The ledger's arithmetic, and opening one by URL."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.budget import Ceiling, Phase, Refusal, Window, scope_kind
from crew_moe.errors import InvalidInput, StateError
from crew_moe.state import open_ledger
from crew_moe.state.accounts import MAX_CARRIED, Account, Bucket, Terms, new_account, open_bucket, refusal
from crew_moe.state.ledger import Record
from crew_moe.state.ledger_input import nano_of
from crew_moe.state.memory.ledger import MemoryLedger
from crew_moe.state.sqlite.ledger import SQLiteLedger
from tests.state.given import NOW, STEADY, later

nanos = st.integers(0, 10**18)


def account(limit: int | None = None, *, settled: int = 0, reserved: int = 0, overrun: int = 0) -> Account:
    """The account of a tenant that has spent something."""
    bucket = Bucket("tenant:a", Window.TOTAL, NOW, None, settled, reserved, overrun)
    return Account("tenant:a", Terms(own_nano=limit), bucket, NOW)


def record(phase: Phase, nano: int = 10, buckets: Sequence[Bucket] = ()) -> Record:
    return Record("r1", ("tenant:a",), buckets, nano, later(seconds=60), phase=phase)


@pytest.mark.parametrize(
    ("moment", "window", "opened_at", "ends_at"),
    [
        ("2026-12-31T23:59:59.999999+00:00", Window.HOUR, "2026-12-31T23:00+00:00", "2027-01-01T00:00+00:00"),
        ("2026-12-31T23:59:59.999999+00:00", Window.DAY, "2026-12-31T00:00+00:00", "2027-01-01T00:00+00:00"),
        ("2026-12-31T23:59:59.999999+00:00", Window.MONTH, "2026-12-01T00:00+00:00", "2027-01-01T00:00+00:00"),
        ("2028-02-29T00:00:00+00:00", Window.DAY, "2028-02-29T00:00+00:00", "2028-03-01T00:00+00:00"),
        ("2028-02-29T12:00:00+00:00", Window.MONTH, "2028-02-01T00:00+00:00", "2028-03-01T00:00+00:00"),
        ("2026-03-29T01:30:00+00:00", Window.DAY, "2026-03-29T00:00+00:00", "2026-03-30T00:00+00:00"),
    ],
)
def test_window_of_a_moment(moment: str, window: Window, opened_at: str, ends_at: str) -> None:
    bucket = open_bucket("run:1", window, datetime.fromisoformat(moment))

    assert (bucket.opened_at, bucket.ends_at) == (datetime.fromisoformat(opened_at), datetime.fromisoformat(ends_at))


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2200, 1, 1)), st.sampled_from(list(Window)))  # noqa: DTZ001 - made aware below
@STEADY
def test_windows_meet_without_gap_or_overlap(naive: datetime, window: Window) -> None:
    now = naive.replace(tzinfo=UTC)
    bucket = open_bucket("run:1", window, now)

    assert bucket.opened_at <= now
    if bucket.ends_at is not None:
        assert now < bucket.ends_at
        assert open_bucket("run:1", window, bucket.ends_at).opened_at == bucket.ends_at
        last = open_bucket("run:1", window, bucket.ends_at - timedelta(microseconds=1))
        assert (last.opened_at, last.ends_at) == (bucket.opened_at, bucket.ends_at)


@pytest.mark.parametrize(
    ("terms", "limit", "window", "period"),
    [
        (Terms(), None, Window.TOTAL, Window.TOTAL),
        (Terms(own_window=Window.DAY), None, Window.DAY, Window.DAY),
        (Terms(own_nano=5), 5, Window.TOTAL, Window.TOTAL),
        (Terms(5, Window.RUN, Ceiling(limit_nano=9, window=Window.DAY)), 5, Window.RUN, Window.TOTAL),
        (Terms(None, Window.DAY, Ceiling(limit_nano=9)), 9, Window.RUN, Window.TOTAL),
        (Terms(0, None, Ceiling(limit_nano=9)), 0, Window.TOTAL, Window.TOTAL),
    ],
)
def test_own_limit_beats_a_ceiling(terms: Terms, limit: int | None, window: Window, period: Window) -> None:
    assert (terms.limit_nano, terms.window, terms.period) == (limit, window, period)


@given(limit=nanos, settled=nanos, reserved=nanos, overrun=nanos, nano=nanos)
@STEADY
def test_amount_is_refused_exactly_when_it_does_not_fit(
    limit: int, settled: int, reserved: int, overrun: int, nano: int
) -> None:
    refused = refusal([account(limit, settled=settled, reserved=reserved, overrun=overrun)], nano)

    assert isinstance(refused, Refusal) is (nano > 0 and settled + reserved + overrun + nano > limit)


def test_account_without_limit_refuses_only_what_it_can_not_count() -> None:
    full = account(settled=MAX_CARRIED - 1)

    assert refusal([full], 1) is None
    with pytest.raises(InvalidInput, match="tenant:a"):
        refusal([full], 2)
    assert refusal([account(settled=MAX_CARRIED)], 0) is None


@pytest.mark.parametrize(
    ("phase", "spent", "moved"),
    [
        (Phase.HELD, 7, (7, 0, 0, 0)),
        (Phase.HELD, 15, (10, 0, 5, 0)),
        (Phase.LAPSED, 7, (7, 0, 0, 0)),
        (Phase.LAPSED, 15, (10, 0, 5, 0)),
        (Phase.LAPSED, 0, (0, 0, 0, 0)),
        (Phase.RELEASED, 7, (0, 0, 7, 0)),
        (Phase.RELEASED, 0, None),
        (Phase.SETTLED, 7, None),
    ],
)
def test_what_an_ending_moves(phase: Phase, spent: int, moved: tuple[int, ...] | None) -> None:
    before = {Phase.HELD: (0, 10, 0, 0), Phase.LAPSED: (10, 0, 0, 10)}.get(phase, (0, 0, 0, 0))
    bucket = Bucket("tenant:a", Window.TOTAL, NOW, None, *before)
    ended = record(phase, buckets=[bucket])

    assert ended.end(spent, Phase.SETTLED) is (moved is not None)
    assert (bucket.settled, bucket.reserved, bucket.overrun, bucket.lapsed) == (moved or before)
    assert bucket.blocked is bool(bucket.overrun)


def test_run_that_is_used_now_and_then_is_never_forgotten() -> None:
    run = new_account("run:1", NOW)
    for day in range(0, 60, 6):
        assert not run.is_forgotten(later(days=day))
        run.keep(later(days=day + 7))

    assert run.is_forgotten(later(days=54 + 9))


def test_keeping_an_account_moves_once_a_day() -> None:
    run = new_account("run:1", NOW)
    moved = [run.keep(later(days=7, hours=hour)) for hour in range(49)]

    assert [hour for hour, changed in enumerate(moved) if changed] == [1, 26]


@pytest.mark.parametrize(
    ("usd", "nano"),
    [
        ("0.004", 4_000_000),
        (0.1, 100_000_000),
        (3, 3 * 10**9),
        ("1E-999999999", 1),
        ("0.0000000010000000000000000000000000000000000000000001", 2),
        ("1000000000", 10**18),
        ("\u0660.\u0665", 500_000_000),
    ],
)
def test_amounts_are_rounded_up_whatever_their_digits(usd: str | float, nano: int) -> None:
    assert nano_of(usd) == nano


def test_urls_open_the_ledger_that_they_name(tmp_path: Path) -> None:
    opened = open_ledger(":memory:"), open_ledger(f"sqlite:///{tmp_path}/deep/budget.db")

    assert [type(ledger) for ledger in opened] == [MemoryLedger, SQLiteLedger]
    assert (tmp_path / "deep/budget.db").is_file()
    for ledger in opened:
        ledger.close()


def test_other_urls_are_refused_with_the_forms_allowed(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"did you mean ':memory:'.*sqlite:///relative/path\.db"):
        open_ledger("memory")
    with pytest.raises(StateError, match="can't be used"):
        open_ledger(f"sqlite:///{tmp_path}")


def test_memory_loads_no_database() -> None:
    program = "import sys; from crew_moe.state import open_ledger; open_ledger(':memory:'); print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert {"sqlite3", "redis"}.isdisjoint(done.stdout.split())


def test_unknown_kind_names_the_closest() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'project'") as caught:
        scope_kind("projects:web")

    assert caught.value.allowed == ("tenant", "project", "user", "channel", "run", "task")
