"""Notices what passes by the router: calls that a crew makes through models that are not routed.

Such a model may be one that the catalogue does not know, one that an `llm_overlay` put in an agent's place, or one
that a tool made for itself. CrewAI's bus calls this in other threads and later, which is good enough for a report and
never decides about money.
"""

from __future__ import annotations

from typing import Any

from crewai.events.base_events import BaseEvent
from crewai.events.event_bus import crewai_event_bus
from crewai.events.types.llm_events import LLMCallCompletedEvent

from crew_moe.crew.current import dispatcher_now
from crew_moe.crew.journal import UnroutedCall
from crew_moe.crew.prices import price_usd
from crew_moe.crew.routed_llm import RoutedLLM
from crew_moe.domain.usage import Usage
from crew_moe.execution.usage import counted


def listen() -> None:
    """Register with CrewAI's bus, which keeps one of a kind."""
    crewai_event_bus.register_handler(LLMCallCompletedEvent, _completed)


def _completed(source: Any, event: BaseEvent) -> None:
    dispatcher = dispatcher_now()
    if dispatcher is None or isinstance(source, RoutedLLM) or not isinstance(event, LLMCallCompletedEvent):
        return
    usage = counted(event.usage or {}) or Usage()
    model = event.model or "unknown"
    who = event.agent_role or "crew"
    dispatcher.router.sink.emit("unrouted_call", who=who, model=model, task=event.task_name)
    call = UnroutedCall(
        who=who,
        model=model,
        task=event.task_name,
        usage=usage,
        cost_usd=price_usd(usage, model, getattr(source, "provider", None)),
    )
    dispatcher.journal.add_unrouted(call)
    dispatcher.bypass.charge(call)
