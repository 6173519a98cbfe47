"""Budgets: scopes with limits and windows, and the two halves of a charge.

A scope is written `kind:name`; what belongs to a tenant carries its name in front: `tenant:acme`, `project:acme/web`.
A name has 1 to 200 printable characters, none of them a space at either end.
Every charge is first reserved at its worst, in all of its scopes at once, and then settled at what it really was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Final, NamedTuple

from crew_moe.domain.word import Word
from crew_moe.errors import InvalidInput

MAX_NAME: Final = 200
MAX_SHOWN: Final = 60


class ScopeKind(Word):
    """Whose money it is, from the widest to the narrowest."""

    TENANT = "tenant"
    PROJECT = "project"
    USER = "user"
    CHANNEL = "channel"
    RUN = "run"
    TASK = "task"


def scope_kind(scope: object, *, where: str = "scope") -> ScopeKind:
    """The kind of a well-formed scope. Raises InvalidInput for any other, with the closest kind.

    >>> scope_kind("project:acme/web")
    <ScopeKind.PROJECT: 'project'>
    """
    kind, colon, name = scope.partition(":") if isinstance(scope, str) else ("", "", "")
    if not colon:
        raise InvalidInput(f"{repr(scope)[:MAX_SHOWN]} is no scope", where=where, allowed=("kind:name",))
    if kind not in _KINDS:
        raise InvalidInput(f"{kind[:MAX_SHOWN]!r} is no kind of scope", where=where, value=kind, allowed=_KINDS)
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
        shown = repr(name)[:MAX_SHOWN]
        allowed = (f"1 to {MAX_NAME} printable characters, no space at either end",)
        raise InvalidInput(f"{shown} is no name of a {kind}", where=where, allowed=allowed)
    return _KINDS[kind]


_KINDS: Final[Mapping[str, ScopeKind]] = {kind.value: kind for kind in ScopeKind}


class Window(Word):
    """How long a limit holds before it starts anew; UTC. A run's or a total never starts anew."""

    RUN = "run"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


class Phase(Word):
    """Where a reservation stands.

    `lapsed`: its lease ended before anybody said what it had cost, so that it was charged in full; a settlement that
    comes later puts that right.
    """

    HELD = "held"
    SETTLED = "settled"
    RELEASED = "released"
    LAPSED = "lapsed"


class RefusalReason(Word):
    """Why nothing could be reserved."""

    LIMIT = "limit"  # it would pass the limit
    OVERRUN = "overrun"  # a call cost more than was reserved for it; blocked until somebody has looked
    CLOSED = "closed"  # the store lost data; blocked until it is reconciled


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The limit of a scope that has none of its own, as the policy or a task's `budget_usd` gives it."""

    limit_nano: int
    window: Window = Window.RUN


class Standing(NamedTuple):
    """How full one limited scope is, a reservation of one's own included; amounts in nano-USD.

    A tuple, as what a reservation and a settlement are: every call makes several, in a third of a frozen class's time.
    """

    scope: str
    limit_nano: int
    used_nano: int
    window: Window
    opened_at: datetime
    ends_at: datetime | None


class Reservation(NamedTuple):
    """Money put aside in all scopes of one call. Truthy `ok`; `id` is what settles, releases or renews it."""

    id: str
    scopes: tuple[str, ...]
    nano: int
    expires_at: datetime
    standings: tuple[Standing, ...] = ()

    @property
    def ok(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why nothing was reserved: the first scope, widest first, that has no room. Amounts in US$.

    `limit` is None where the whole store is closed; `retry_at` is when the scope's window ends, if it does.
    """

    ok: ClassVar[bool] = False

    scope: str
    limit: Decimal | None
    available: Decimal
    reason: RefusalReason = RefusalReason.LIMIT
    retry_at: datetime | None = None


class Settlement(NamedTuple):
    """What became of a reservation. Amounts in US$.

    `charged_usd` is what its scopes carry now, `overrun_usd` the part beyond what had been reserved. Settling again
    gives the same settlement.
    """

    id: str
    phase: Phase
    scopes: tuple[str, ...]
    reserved_usd: Decimal
    charged_usd: Decimal
    overrun_usd: Decimal
    standings: tuple[Standing, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeStatus:
    """How one scope stands in its present window. Amounts in US$; `limit_usd` is None for a scope that is not capped.

    `settled_usd` and `reserved_usd` never exceed the limit together; `overrun_usd` is what calls cost beyond what was
    reserved for them. `lapsed_usd` is the part of `settled_usd` that was charged because nobody reported.
    """

    scope: str
    limit_usd: Decimal | None
    settled_usd: Decimal
    reserved_usd: Decimal
    overrun_usd: Decimal
    lapsed_usd: Decimal
    window: Window
    opened_at: datetime
    ends_at: datetime | None
    blocked: bool = False

    @property
    def available_usd(self) -> Decimal | None:
        """What may still be reserved; None: no limit."""
        if self.limit_usd is None:
            return None
        return max(Decimal(0), self.limit_usd - self.settled_usd - self.reserved_usd - self.overrun_usd)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; amounts as strings, moments in ISO 8601."""
        amounts = ("limit_usd", "settled_usd", "reserved_usd", "overrun_usd", "lapsed_usd", "available_usd")
        values: Mapping[str, Decimal | None] = {name: getattr(self, name) for name in amounts}
        return {
            "scope": self.scope,
            **{name: None if value is None else f"{value:f}" for name, value in values.items()},
            "window": self.window.value,
            "opened_at": self.opened_at.isoformat(),
            "ends_at": None if self.ends_at is None else self.ends_at.isoformat(),
            "blocked": self.blocked,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCharge:
    """A reservation that is held, or that lapsed and waits for its true price."""

    id: str
    phase: Phase
    scopes: tuple[str, ...]
    reserved_usd: Decimal
    expires_at: datetime
    note: str = ""


class OnExhausted(Word):
    """How a call goes on that finds no room in a budget."""

    DOWNGRADE = "downgrade"  # cheaper experts
    HOLD = "hold"  # somebody is asked
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRule:
    """A limit that the policy gives to a scope, or to all scopes of a kind (`run:*`).

    `on_exhausted` says how a call goes on that finds no room; `warn_at` is the share of the limit from which on
    warnings are given.
    """

    scope: str
    limit_nano: int
    window: Window
    on_exhausted: OnExhausted
    warn_at: float = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPolicy:
    """Limits by scope, the most telling first: a named scope before `kind:*`. `on_exhausted` where no rule speaks."""

    rules: Mapping[str, BudgetRule] = field(default_factory=dict)
    on_exhausted: OnExhausted = OnExhausted.DOWNGRADE
    warn_at: float = 0.8

    def rule(self, scope: str) -> BudgetRule | None:
        """The rule for a scope, or for all of its kind."""
        return self.rules.get(scope) or self.rules.get(f"{scope.partition(':')[0]}:*")
