"""The few methods of CrewAI's Crew that have to know of routed seats."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from crewai import Crew
from crewai.llms.base_llm import BaseLLM
from crewai.types.usage_metrics import UsageMetrics
from pydantic import PrivateAttr

from crew_moe.crew.current import one_run
from crew_moe.crew.models import expert_of, sampling_of
from crew_moe.crew.routed_llm import RoutedLLM
from crew_moe.crew.seat import Seat, SeatKind
from crew_moe.crew.unrouted import install

if TYPE_CHECKING:
    from crew_moe.crew.dispatcher import Dispatcher


class RoutedCrew(Crew):
    """A crew that was attached: its copies stay routed, and every token is counted once."""

    _dispatcher: Dispatcher | None = PrivateAttr(default=None)
    _rewire: Callable[[Crew], Crew] | None = PrivateAttr(default=None)

    def copy(self) -> Crew:  # type: ignore[override]  # not pydantic's
        """A copy (CrewAI makes one for each input of `kickoff_for_each`) with seats of its own and the same report."""
        copied = super().copy()
        for agent in copied.agents:
            if isinstance(agent.llm, BaseLLM) and not isinstance(agent.llm, RoutedLLM):
                # CrewAI's copies of a model share one set of counters, which would be added up again and again.
                agent.llm._token_usage = dict.fromkeys(agent.llm._token_usage, 0)
        return copied if self._rewire is None else self._rewire(copied)

    @property
    def _budget_nano(self) -> int | None:
        """What one run may cost."""
        return None if self._dispatcher is None else self._dispatcher.payer.budget_nano

    def kickoff(self, *args: Any, **options: Any) -> Any:
        """CrewAI's kickoff, as one run: its calls share the run's budget."""
        with one_run(budget_nano=self._budget_nano):
            self._watch()
            return super().kickoff(*args, **options)

    async def akickoff(self, *args: Any, **options: Any) -> Any:
        """As `kickoff`, on an event loop."""
        with one_run(budget_nano=self._budget_nano):
            self._watch()
            return await super().akickoff(*args, **options)

    def _watch(self) -> None:
        """See that calls past the router are stopped where they must be; only a kickoff knows all of its budgets."""
        if self._dispatcher is not None and self._dispatcher.bypass.needed:
            install()

    def calculate_usage_metrics(self) -> UsageMetrics:
        """Tokens of all seats: each model once, however many agents share it, and the crew's own seats too."""
        self._drain_memory_writes()  # CrewAI counts first and lets memories finish then; their calls cost too
        total = UsageMetrics()
        everybody = [*self.agents, *([self.manager_agent] if self.manager_agent is not None else [])]
        models = {id(agent.llm): agent.llm for agent in everybody}
        for model in models.values():
            if isinstance(model, BaseLLM):
                total.add_usage_metrics(model.get_token_usage_summary())
        if self._dispatcher is not None:
            total.add_usage_metrics(UsageMetrics(**self._dispatcher.shared.read()))
        self.usage_metrics = total
        return total

    def test(self, n_iterations: int, eval_llm: Any, inputs: dict[str, Any] | None = None) -> None:
        """CrewAI's test, its evaluator routed as well."""
        if self._dispatcher is not None and not isinstance(eval_llm, RoutedLLM):
            seat = Seat(
                seat_id=uuid4().hex,
                kind=SeatKind.EVALUATOR,
                agent=None,
                preference=expert_of(eval_llm, self._dispatcher.router.registry),
                sampling=sampling_of(eval_llm),
                dispatcher=self._dispatcher,
            )
            eval_llm = RoutedLLM.on(seat)
        super().test(n_iterations, eval_llm, inputs)


@lru_cache(maxsize=32)
def routed_class(kind: type[Crew]) -> type[RoutedCrew]:
    """RoutedCrew, over the user's own subclass of Crew where there is one."""
    if issubclass(kind, RoutedCrew):
        return kind
    return RoutedCrew if kind is Crew else type(f"Routed{kind.__name__}", (RoutedCrew, kind), {})


def dispatcher_of(crew: Crew) -> Dispatcher | None:
    """What routes the crew's calls; None when it was not attached."""
    return crew._dispatcher if isinstance(crew, RoutedCrew) else None
