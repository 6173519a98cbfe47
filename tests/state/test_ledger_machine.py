"""Whatever happens to it in whatever order: a ledger keeps every limit, and does what a plain model does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from crew_moe.clock import ManualClock
from crew_moe.domain.budget import Ceiling, Refusal, Reservation, ScopeStatus, Settlement, Window
from crew_moe.domain.money import to_nano, to_usd
from crew_moe.errors import InvalidInput
from crew_moe.ports import Ledger
from crew_moe.state import open_ledger
from tests.state.given import STEADY
from tests.state.ledger_model import Model

START = datetime(2026, 3, 31, 19, 30, tzinfo=UTC)  # an hour, a day and a month end on the way
SCOPES = ("tenant:a", "tenant:b", "project:p", "run:1", "task:t")
Opens = Callable[[ManualClock], Ledger]
Begins = Callable[[], Opens]

nanos = st.integers(0, 12)
limits = st.integers(0, 30)
windows = st.sampled_from(list(Window))
sets_of_scopes = st.lists(st.sampled_from(SCOPES), min_size=1, max_size=4, unique=True)
leases = st.sampled_from([1, 60, 1_800, 86_400])
ceilings = st.builds(Ceiling, limit_nano=limits, window=windows)
places = st.integers(0, 1_000)


class Machine(RuleBasedStateMachine):
    """Each rule is done to a ledger and to the model; time goes on, and now and then back."""

    def __init__(self, opens: Opens) -> None:
        super().__init__()
        self.clock = ManualClock(START)
        self.opens = opens
        self.ledger = opens(self.clock)
        self.model = Model(START)
        self.ids: list[str] = []
        self.carried: dict[tuple[str, object, datetime], int] = {}

    def teardown(self) -> None:
        self.ledger.close()

    @rule(seconds=st.sampled_from([0.5, 1, 59, 60, 600, 1_799, 1_800, -600]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.model.pass_time(self.clock.now())

    @rule()
    def open_again(self) -> None:
        """What was only looked at since the last change is not kept; a change that changes nothing keeps the time."""
        self.ledger.reconcile("user:nobody")
        self.ledger.close()
        self.ledger = self.opens(self.clock)

    @rule(scope=st.sampled_from(SCOPES), nano=st.none() | limits, window=st.none() | windows)
    def set_limit(self, scope: str, nano: int | None, window: Window | None) -> None:
        self.model.own[scope] = nano
        if window is not None:
            self.model.window[scope] = window
        usd = None if nano is None else to_usd(nano)
        self._agrees(self.ledger.set_limit(scope, usd=usd, window=window))

    @rule(scope=st.sampled_from(SCOPES), nano=nanos)
    def top_up(self, scope: str, nano: int) -> None:
        own = self.model.own.get(scope)
        if own is None:
            with pytest.raises(InvalidInput):
                self.ledger.top_up(scope, usd=to_usd(nano))
            return
        self.model.own[scope] = own + nano
        self._agrees(self.ledger.top_up(scope, usd=to_usd(nano)))

    @rule(scope=st.sampled_from(SCOPES), nano=nanos)
    def top_up_whatever_limits(self, scope: str, nano: int) -> None:
        before = self.ledger.status(scope)
        if before.limit_usd is None:
            with pytest.raises(InvalidInput):
                self.ledger.top_up(scope, usd=to_usd(nano), adopt=True)
            return
        self.model.own[scope] = to_nano(before.limit_usd) + nano
        self.model.window[scope] = before.window
        self._agrees(self.ledger.top_up(scope, usd=to_usd(nano), adopt=True))

    @rule(scopes=sets_of_scopes, nano=nanos, lease_s=leases, ceiling=st.none() | ceilings)
    def reserve(self, scopes: list[str], nano: int, lease_s: float, ceiling: Ceiling | None) -> None:
        given = {} if ceiling is None else {scopes[0]: ceiling}
        expected = self.model.refuses(scopes, nano, given)
        answer = self.ledger.reserve(scopes, usd=to_usd(nano), lease_s=lease_s, ceilings=given)
        self._answered(answer if isinstance(answer, Refusal) else (answer,), expected, [nano], lease_s)

    @rule(scopes=sets_of_scopes, group=st.lists(nanos, min_size=1, max_size=3), lease_s=leases)
    def reserve_group(self, scopes: list[str], group: list[int], lease_s: float) -> None:
        expected = self.model.refuses(scopes, sum(group), {})
        answer = self.ledger.reserve_group(scopes, usd=[to_usd(nano) for nano in group], lease_s=lease_s)
        self._answered(answer, expected, group, lease_s)

    @precondition(lambda self: self.ids)
    @rule(place=places, nano=nanos)
    def settle(self, place: int, nano: int) -> None:
        identity = self.ids[place % len(self.ids)]
        self.model.end(identity, nano, "settled")
        self._settled(identity, self.ledger.settle(identity, usd=to_usd(nano)))

    @precondition(lambda self: self.ids)
    @rule(place=places)
    def release(self, place: int) -> None:
        identity = self.ids[place % len(self.ids)]
        self.model.end(identity, 0, "released")
        self._settled(identity, self.ledger.release(identity))

    @precondition(lambda self: self.ids)
    @rule(place=places, lease_s=leases)
    def renew(self, place: int, lease_s: float) -> None:
        identity = self.ids[place % len(self.ids)]
        item = self.model.items[identity]
        if item.state != "held":
            with pytest.raises(InvalidInput, match=item.state):
                self.ledger.renew(identity, lease_s=lease_s)
            return
        item.expires_at = max(item.expires_at, self.model.now + timedelta(seconds=lease_s))
        assert self.ledger.renew(identity, lease_s=lease_s).expires_at == item.expires_at

    @rule(name=st.sampled_from(["d1/1", "d1/2", "d2/1"]), scopes=sets_of_scopes, nano=nanos, ceiling=ceilings)
    def charge(self, name: str, scopes: list[str], nano: int, ceiling: Ceiling) -> None:
        self.model.charge(name, scopes, nano, {scopes[-1]: ceiling})
        answer = self.ledger.charge(name, scopes, usd=to_usd(nano), ceilings={scopes[-1]: ceiling})
        self._settled(name, answer)

    @rule(scope=st.none() | st.sampled_from(SCOPES))
    def reconcile(self, scope: str | None) -> None:
        expected = self.model.reconcile(SCOPES if scope is None else [scope])
        assert sorted(status.scope for status in self.ledger.reconcile(scope)) == sorted(expected)

    @invariant()
    def every_scope_stands_as_in_the_model(self) -> None:
        for scope in SCOPES:
            self._agrees(self.ledger.status(scope))

    @invariant()
    def settled_and_reserved_never_pass_a_limit(self) -> None:
        """Where a limit was set below what was there already, that never grows."""
        for status in self.ledger.statuses():
            bucket = (status.scope, status.ends_at is None or status.window, status.opened_at)
            carried = to_nano(status.settled_usd + status.reserved_usd)
            if status.limit_usd is not None:
                assert carried <= max(to_nano(status.limit_usd), self.carried.get(bucket, 0)), status
            self.carried[bucket] = carried

    @invariant()
    def what_is_open_is_what_the_model_has_open(self) -> None:
        items = self.model.items
        expected = [(one, items[one].state) for one in self.ids if items[one].state in ("held", "lapsed")]
        assert [(charge.id, charge.phase) for charge in self.ledger.open_charges()] == expected

    def _agrees(self, status: ScopeStatus) -> None:
        model, scope = self.model, status.scope
        sums = model.sums(model.place(scope))
        amounts = (status.settled_usd, status.reserved_usd, status.overrun_usd, status.lapsed_usd)
        assert [to_nano(usd) for usd in amounts] == [sums.settled, sums.reserved, sums.overrun, sums.lapsed], status
        limit = None if status.limit_usd is None else to_nano(status.limit_usd)
        assert (limit, status.window, status.blocked) == (
            model.limit(scope),
            model.window_of(scope),
            model.blocked(scope),
        )

    def _answered(
        self,
        answer: tuple[Reservation, ...] | Refusal,
        expected: tuple[str, str, int] | None,
        amounts: Sequence[int],
        lease_s: float,
    ) -> None:
        if isinstance(answer, Refusal):
            assert (answer.scope, answer.reason, to_nano(answer.available)) == expected
            return
        assert expected is None, answer
        for reservation, nano in zip(answer, amounts, strict=True):
            assert reservation.nano == nano
            assert reservation.expires_at == self.model.now + timedelta(seconds=lease_s)
            self.model.hold(reservation.id, reservation.scopes, nano, reservation.expires_at)
            self.ids.append(reservation.id)

    def _settled(self, identity: str, settlement: Settlement) -> None:
        charged, overrun = self.model.charged(identity)
        assert (to_nano(settlement.charged_usd), to_nano(settlement.overrun_usd)) == (charged, overrun)


@pytest.fixture(params=["memory", "sqlite", "redis"])
def begins(request: pytest.FixtureRequest, tmp_path: Path) -> Begins:
    """Begins a life: gives the way to open one empty ledger, and to open it again."""
    numbers = count()

    def memory() -> Opens:
        kept: list[Ledger] = []

        def opens(clock: ManualClock) -> Ledger:
            kept[:] = kept or [open_ledger(":memory:", clock=clock)]
            return kept[0]

        return opens

    def sqlite() -> Opens:
        url = f"sqlite:///{tmp_path}/{next(numbers)}.db"
        return lambda clock: open_ledger(url, clock=clock)

    def redis() -> Opens:
        assert request.getfixturevalue("redis_server").ask("FLUSHALL") == "+OK"
        url = str(request.getfixturevalue("redis_server").url)
        return lambda clock: open_ledger(url, clock=clock)

    return {"memory": memory, "sqlite": sqlite, "redis": redis}[request.param]


def test_ledger_does_what_the_model_does(begins: Begins) -> None:
    class Life(Machine):
        def __init__(self) -> None:
            super().__init__(begins())

    long_enough = settings(STEADY, max_examples=60, stateful_step_count=30)
    run_state_machine_as_test(Life, settings=long_enough)
