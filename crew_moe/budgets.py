"""Budgets as people handle them: looked at, set, topped up, put right; every change with its author in the log."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any, Final
from urllib.parse import unquote

from crew_moe.domain.budget import BudgetPolicy, OpenCharge, ScopeKind, ScopeStatus, Settlement, Window
from crew_moe.domain.outcome import Outcome
from crew_moe.domain.scope import written_scope
from crew_moe.execution.errand import Errand, errand_of
from crew_moe.ids import DecisionIds
from crew_moe.ports import Amount, Clock, DecisionLog, Ledger
from crew_moe.routing.record import IDENTITY, Identity, commitments

KIND: Final = "budget"
MAX_REMEMBERED: Final = 10_000
RECENT_ROWS: Final = 10_000
# Identity fields by the kinds of scope that carry their names.
_FIELDS: Final = {"run": "run_id"}
_KINDS: Final = {_FIELDS.get(kind, kind.value): kind for kind in ScopeKind if kind is not ScopeKind.TASK}


class Budgets:
    """The ledger with a face: what `router.budgets` and `crew-moe budget` do.

    Raises InvalidInput for malformed scopes and amounts, StateError when the ledger can't be reached.
    """

    def __init__(self, ledger: Ledger, *, policy: BudgetPolicy, log: DecisionLog, clock: Clock, log_key: bytes) -> None:
        self.ledger = ledger
        self._policy = policy
        self._log = log
        self._clock = clock
        self._log_key = log_key
        self._ids = DecisionIds()
        self._lock = Lock()
        self._asked: OrderedDict[str, Identity] = OrderedDict()

    def status(self, scope: str | None = None) -> tuple[ScopeStatus, ...]:
        """How one scope stands, or all that the ledger knows."""
        return tuple(self.ledger.statuses()) if scope is None else (self.ledger.status(written_scope(scope)),)

    def open_charges(self, scope: str | None = None) -> tuple[OpenCharge, ...]:
        """Money that is held, and charges that wait for their true price."""
        return tuple(self.ledger.open_charges(None if scope is None else written_scope(scope)))

    def set(
        self, scope: str, usd: Amount | None, *, window: Window | str | None = None, by: str = "", why: str = ""
    ) -> ScopeStatus:
        """Give a scope its own limit; None takes it away."""
        scope = written_scope(scope)
        before = self.ledger.status(scope)
        after = self.ledger.set_limit(scope, usd=usd, window=window)
        return self._changed("set", before, after, by=by, why=why)

    def top_up(self, scope: str, usd: Amount, *, by: str = "", why: str = "") -> ScopeStatus:
        """Raise the limit of a scope."""
        scope = written_scope(scope)
        before = self.ledger.status(scope)
        return self._changed("top_up", before, self.ledger.top_up(scope, usd=usd), by=by, why=why)

    def reconcile(self, scope: str | None = None, *, by: str = "", why: str = "") -> tuple[ScopeStatus, ...]:
        """Lift the block that an overrun put on a scope; without a scope on all, and reopen a ledger that lost data."""
        scope = None if scope is None else written_scope(scope)
        found = tuple(self.ledger.reconcile(scope))
        self._audit("reconcile", scope or "*", by=by, why=why, after=[status.as_dict() for status in found])
        return found

    def correct(self, reservation_id: str, usd: Amount, *, by: str = "", why: str = "") -> Settlement:
        """Say what a call has cost that was charged in full because nobody knew."""
        settled = self.ledger.settle(reservation_id, usd=usd)
        self._audit(
            "correct",
            " ".join(settled.scopes),
            by=by,
            why=why,
            after={"reservation": reservation_id, "charged_usd": f"{settled.charged_usd:f}"},
        )
        return settled

    def changes(self, count: int = 20) -> list[Mapping[str, Any]]:
        """The newest changes of budgets, newest first."""
        found = (row for row in self._log.tail(RECENT_ROWS) if row.get("kind") == KIND)
        return [row for row, _ in zip(found, range(count), strict=False)]

    def remember(self, decision_id: str, identity: Identity) -> None:
        """Whose decision it is, for a cost that may be reported later."""
        if not identity:
            return
        with self._lock:
            self._asked[decision_id] = identity
            while len(self._asked) > MAX_REMEMBERED:
                self._asked.popitem(last=False)

    def charge(self, outcome: Outcome, row: Mapping[str, Any]) -> bool:
        """Book what somebody else spent on a decision, once per attempt; False where nobody is known who could pay."""
        if not outcome.cost_usd:
            return True
        identity = self._asked.get(outcome.decision_id)
        errand = Errand(scopes=tuple(self._scopes(row))) if identity is None else self._errand(identity)
        if errand.scopes:
            name = f"{outcome.decision_id}/{outcome.attempt}"
            self.ledger.charge(name, errand.scopes, usd=outcome.cost_usd, ceilings=errand.ceilings, note=name)
        return bool(errand.scopes)

    def _errand(self, identity: Identity) -> Errand:
        names = zip(IDENTITY, identity, strict=True)
        return errand_of({_KINDS[field]: name for field, name in names if name and field in _KINDS}, self._policy)

    def _scopes(self, row: Mapping[str, Any]) -> Iterator[str]:
        """The scopes of a decision of another process: those whose names fit the row's commitments."""
        wanted = row.get("identity") or {}
        known = {status.scope for status in self.ledger.statuses()} | self._policy.rules.keys() if wanted else ()
        return (scope for scope in sorted(known) if self._fits(scope, wanted))

    def _fits(self, scope: str, wanted: Mapping[str, str]) -> bool:
        """Whether a scope's name, and the tenant in front of it, are those that were committed to."""
        kind, _, whole = scope.partition(":")
        tenant, _, name = whole.rpartition("/")
        own = _FIELDS.get(kind, kind)
        names = {own: name} if kind == ScopeKind.TENANT else {own: name, "tenant": tenant}
        return own in wanted and all(
            wanted.get(field) == self._commitment(field, unquote(given)) for field, given in names.items()
        )

    def _commitment(self, field: str, name: str) -> str | None:
        """None for a name that is not given."""
        identity = tuple(name or None if field == known else None for known in IDENTITY)
        return commitments(identity, self._log_key).get(field)

    def _changed(self, action: str, before: ScopeStatus, after: ScopeStatus, *, by: str, why: str) -> ScopeStatus:
        self._audit(action, after.scope, by=by, why=why, before=before.as_dict(), after=after.as_dict())
        return after

    def _audit(self, action: str, scope: str, **fields: Any) -> None:
        """One row for one change; stored before anybody hears that it was made."""
        row = {"kind": KIND, "action": action, "scope": scope, "at": self._clock.now().isoformat(), **fields}
        self._log.append(f"{KIND}/{self._ids()}", lambda: row)
        self._log.flush()
