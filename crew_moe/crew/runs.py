"""Which execution of which task a call belongs to, and what that execution remembers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import takewhile
from threading import Lock
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from crewai.context import get_current_task_id

from crew_moe.crew.call import LLMCall
from crew_moe.domain.access import Demands
from crew_moe.domain.decision import Decision
from crew_moe.domain.digest import digest
from crew_moe.domain.money import to_nano
from crew_moe.domain.outcome import Attempt
from crew_moe.execution.route import Route
from crew_moe.screening.redaction import Vault

if TYPE_CHECKING:
    from crewai import Task

MAX_RUNS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Who serves one seat for one task execution: a decision, its route, and whom to try now.

    `epoch` counts the task's guardrail retries, `overrides` is the version of the manual pins, `demands` are those of
    screening: a change of any ends the assignment.
    """

    decision: Decision
    route: Route
    experts: tuple[str, ...]
    epoch: int
    overrides: int
    demands: Demands


@dataclass(slots=True, kw_only=True)
class TaskRun:
    """One execution of one task, or one conversation without a task. `name` is the task's key in tasks.yaml.

    `spent_nano` is what its calls cost, or may have cost; the ledger holds the truth and the limit, this sum only tells
    decisions what is about left. `opening` is its first conversation, by which approvals know it, `granted` are the
    experts that a person has let pass for it, each with the suspicious messages that it was let pass with, and `vault`
    keeps what was redacted from it.
    """

    key: str
    number: int
    name: str | None
    label: str
    started: float
    task: Task | None = None
    spent_nano: int = 0
    lock: Lock = field(default_factory=Lock)
    assignments: dict[str, Assignment] = field(default_factory=dict)
    served_by: dict[str, str] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    opening: str = ""
    granted: Mapping[str, frozenset[str]] = field(default_factory=dict)
    vault: Vault = field(default_factory=Vault)
    overflows: int = 0
    ended_by: Exception | None = None

    def note(self, attempts: Sequence[Attempt]) -> None:
        """Take the attempts of one route."""
        with self.lock:
            self.attempts.extend(attempts)
            self.spent_nano += sum(to_nano(attempt.cost_usd + attempt.unsettled_usd) for attempt in attempts)

    def since_success(self) -> tuple[Attempt, ...]:
        """The attempts after the last one that was answered."""
        with self.lock:
            failed = takewhile(lambda attempt: not attempt.ok, reversed(self.attempts))
            return tuple(failed)[::-1]

    def grant(self, expert_id: str, held: frozenset[str]) -> None:
        """A person has let this expert pass, with these suspicious messages."""
        with self.lock:
            self.granted = {**self.granted, expert_id: self.granted.get(expert_id, frozenset()) | held}

    def granted_with(self, held: frozenset[str]) -> frozenset[str]:
        """The experts that were let pass with these suspicious messages, and maybe with more."""
        return frozenset(expert_id for expert_id, seen in self.granted.items() if held <= seen)

    @property
    def epoch(self) -> int:
        """How often a guardrail has sent the task back."""
        task = self.task
        # CrewAI counts the retries of a list of guardrails in a private dictionary only.
        return 0 if task is None else task.retry_count + sum(task._guardrail_retry_counts.values())


class Runs:
    """Finds the run of a call; starts one when the task, or the conversation, is new.

    A call that names no task (guardrails, knowledge, delegated work) belongs to the task that CrewAI executes in this
    context; outside of any task, a conversation is known by how it began.
    """

    def __init__(
        self, tasks: Callable[[], Iterable[Task]], monotonic: Callable[[], float], numbers: Iterator[int]
    ) -> None:
        self._tasks = tasks
        self._numbers = numbers
        self._monotonic = monotonic
        self._lock = Lock()
        self._runs: OrderedDict[str, TaskRun] = OrderedDict()

    def of(self, call: LLMCall) -> TaskRun:
        """The run that `call` belongs to."""
        task_id = get_current_task_id() or (str(call.from_task.id) if call.from_task is not None else None)
        if task_id is None:
            return self._conversation(call)
        with self._lock:
            known = self._runs.get(task_id)
            task = known.task if known is not None and known.task is not None else self._task(task_id, call)
            key = f"{task_id}@{task.start_time if task is not None else None}"
            if known is None or known.key != key:
                known = self._start(task_id, key, task, call)
            self._runs.move_to_end(task_id)
            return known

    def task_now(self) -> Task | None:
        """The crew's task that CrewAI executes in this context."""
        task_id = get_current_task_id()
        return None if task_id is None else next((task for task in self._tasks() if str(task.id) == task_id), None)

    def _conversation(self, call: LLMCall) -> TaskRun:
        opening = repr([(message.get("role"), message.get("content")) for message in call.messages[:2]])
        key = blake2b(opening.encode("utf-8", "replace"), digest_size=16).hexdigest()
        with self._lock:
            known = self._runs.get(key)
            fresh = all(message.get("role") in ("system", "user") for message in call.messages)
            if known is None or fresh:
                # The same words may be said again: that is another conversation, with money of its own.
                known = self._start(key, f"{key}@{uuid4().hex}", None, call)
            self._runs.move_to_end(key)
            return known

    def _task(self, task_id: str, call: LLMCall) -> Task | None:
        if call.from_task is not None and str(call.from_task.id) == task_id:
            return call.from_task
        return next((task for task in self._tasks() if str(task.id) == task_id), None)

    def _start(self, slot: str, key: str, task: Task | None, call: LLMCall) -> TaskRun:
        run = TaskRun(
            key=key,
            number=next(self._numbers),
            name=task.name if task is not None else None,
            label=_label(task, call),
            started=self._monotonic(),
            task=task,
            opening=_opening(call),
        )
        self._runs[slot] = run
        while len(self._runs) > MAX_RUNS:
            self._runs.popitem(last=False)
        return run


def _opening(call: LLMCall) -> str:
    """The name of a conversation's beginning."""
    return digest(repr(list(call.messages)), size=32).hex()


def _label(task: Task | None, call: LLMCall) -> str:
    """What people call this run: the task's name, else the beginning of its words."""
    if task is not None and task.name:
        return task.name
    words = (task.description if task is not None else call.text).split()
    return " ".join(words)[:60]
