"""Decisions of one router: asked for, made on the newest board, and put on record."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from crew_moe.boards import Boards, View
from crew_moe.domain.access import NO_DEMANDS, Demands
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.digest import digest
from crew_moe.domain.happening import BatchDecided, Decided
from crew_moe.domain.principal import Principal
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.service import Service
from crew_moe.domain.task import TaskType
from crew_moe.execution.errand import SpokenFor, spoken_for
from crew_moe.execution.screened import Stop
from crew_moe.experiments import Experiments, Foresee
from crew_moe.guards import Guards
from crew_moe.ids import DecisionIds
from crew_moe.ports import Clock, DecisionLog
from crew_moe.routing.batch import Decisions, decide_batch
from crew_moe.routing.board import Board
from crew_moe.routing.eligibility import NO_ROOM
from crew_moe.routing.engine import decide, refuse
from crew_moe.routing.features import extract
from crew_moe.routing.needs import strategy_in_force
from crew_moe.routing.record import Identity, LogEntry, commitments, identity_of
from crew_moe.routing.redeciding import beside
from crew_moe.routing.sharing import Wanted, share_out
from crew_moe.telemetry.watching import NOBODY, Watchers

WORK: Final = TaskType.ANALYSIS
"""The task type under which work of any other kind stands in the records."""


class Deciding:
    """What `Router.decide`, `refuse` and `decide_batch` do. `calling` holds those that can be called now; `key` turns
    texts and identities into digests for the log; `remember` is told whose decision it was; `insight` says what
    learning knows of a request; of `experiments`, one may be under way.
    """

    def __init__(
        self,
        *,
        boards: Boards,
        calling: Boards | View,
        guards: Guards,
        log: DecisionLog,
        clock: Clock,
        key: bytes,
        remember: Callable[[str, Identity], None],
        watchers: Watchers = NOBODY,
        insight: Foresee,
        experiments: Experiments,
    ) -> None:
        self._boards = boards
        self._calling = calling
        self._guards = guards
        self._log = log
        self._clock = clock
        self._key = key
        self._remember = remember
        self._insight = insight
        self._experiments = experiments
        self._trials = experiments.trials
        self._tell = watchers.saw if watchers.all else None
        self._new_id = DecisionIds()

    def decide(
        self, request: RoutingRequest, *, for_call: bool, principal: Principal | None, demands: Demands
    ) -> Decision | Infeasible:
        began = self._clock.monotonic() if self._tell else 0.0
        request = spoken_for(request, principal)
        board, now = (self._calling if for_call else self._boards).current(), self._clock.now()
        request = _overridden(request, board, now)
        features, demands = self._guards.demanded(request, principal, demands, board.registry)
        part, foresee, decision_id = None, self._insight, self._new_id()
        if (running := self._trials.running) is not None:
            part = self._experiments.part(running, request, decision_id, for_call=for_call)
            if part is not None and part.decides:
                board, foresee = part.board, part.insight
        ask = partial(
            decide,
            request,
            decision_id=decision_id,
            now=now,
            new_seed=_new_seed,
            features=features,
            demands=demands,
            insight=foresee(request, features, board.registry),
        )
        decision = ask(board)
        if for_call and isinstance(decision, Infeasible) and decision.binding == NO_ROOM:
            decision = ask(board.roomy)  # calls wait their turn
        self._put_down(decision, request, None if part is None else part.told(decision, ask))
        if self._tell:
            self._tell(Decided(decision, request.tenant, self._ms_since(began)))
        return decision

    def between(
        self,
        wanted: Wanted,
        *,
        principal: Principal | None,
        under_way: Mapping[str, int],
        only: str | None = None,
    ) -> Decision | Infeasible | None:
        """One of the registered services that do such work, or why none of them may now; None where there is none.

        `under_way` counts the calls that each has been given; `only` this service, whatever the work.
        """
        began = self._clock.monotonic()
        asking, board, now = wanted.asking(), self._boards.current(), self._clock.now()
        if not board.services:
            return None
        request = spoken_for(RoutingRequest(task_type=WORK, tenant=wanted.tenant), principal)
        services = [one for one in board.services if one.serves(request.tenant) and _does(one, wanted, only)]
        if not services:
            return None
        features, demands = self._guards.demanded(request, principal, NO_DEMANDS, board.registry)
        found = share_out(
            services,
            board,
            asking,
            features=features or extract(request),
            demands=demands,
            under_way=under_way,
            decision_id=self._new_id(),
            now=now,
            seed=_new_seed(),
        )
        self._put_down(found, request)
        if self._tell:
            self._tell(Decided(found, request.tenant, self._ms_since(began)))
        return found

    def refuse(self, request: RoutingRequest, stop: Stop) -> Infeasible:
        refused = refuse(
            request,
            self._boards.current(),
            stop.concern,
            stop.reason,
            decision_id=self._new_id(),
            now=self._clock.now(),
        )
        self._put_down(refused, request)
        if self._tell:
            self._tell(Decided(refused, request.tenant, 0.0))
        return refused

    def decide_batch(self, requests: Sequence[RoutingRequest], *, principal: Principal | None) -> Decisions:
        began, now, board = self._clock.monotonic(), self._clock.now(), self._boards.current()
        access, batch_id = self._guards.access.over(board.registry), self._new_id()
        asked = requests if principal is None else SpokenFor(requests, principal)
        if board.snapshot.pins:
            asked = requests = [_overridden(one, board, now) for one in asked]
        decisions = decide_batch(
            asked,
            board,
            raw=requests,
            batch_id=batch_id,
            now=now,
            new_seed=_new_seed,
            demands=[access.demands_of(one, principal) for one in asked] if access else NO_DEMANDS,
            identity=None if principal is None else commitments(_names_of(principal), self._key),
            insight=lambda one: self._insight(one, None, board.registry),
        )
        self._log.append(batch_id, decisions.record.row, decisions=max(1, len(decisions)))
        if self._tell:
            strategy, took_ms = board.policy.strategy, self._ms_since(began)
            tenant = None if principal is None else principal.tenant
            self._tell(BatchDecided(batch_id, requests, decisions, strategy, now, took_ms, tenant))
        return decisions

    def _ms_since(self, began: float) -> float:
        return (self._clock.monotonic() - began) * 1000.0

    def _put_down(
        self, decision: Decision | Infeasible, request: RoutingRequest, experiment: Mapping[str, Any] | None = None
    ) -> None:
        key, identity = self._key, identity_of(request)
        self._remember(decision.decision_id, identity)
        entry = LogEntry(decision, digest(request.text, key=key), identity, key, beside(request), experiment)
        self._log.append(decision.decision_id, entry)


def _does(service: Service, wanted: Wanted, only: str | None) -> bool:
    return service.fits(wanted.type, wanted.capabilities) if only is None else service.service_id == only


def _names_of(principal: Principal) -> Identity:
    """The names that every request of a principal bears, in the order of record.IDENTITY."""
    return principal.tenant, None, principal.subject or None, principal.channel, None, None


def _overridden(request: RoutingRequest, board: Board, now: datetime) -> RoutingRequest:
    """The request with the strategy that an override sets for it."""
    pins = board.snapshot.pins
    strategy = strategy_in_force(request, pins, now) if pins else None
    return request if strategy is None else request.model_copy(update={"strategy": strategy})


def _new_seed() -> int:
    return int.from_bytes(os.urandom(8), "big") >> 2
