"""CrewAI's LLM events for a routed call: started once, completed or failed once, chunks in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crewai.events.event_bus import crewai_event_bus
from crewai.events.types.llm_events import (
    LLMCallCompletedEvent,
    LLMCallFailedEvent,
    LLMCallStartedEvent,
    LLMCallType,
    LLMStreamChunkEvent,
)
from crewai.llms.base_llm import get_current_call_id
from crewai.utilities.serialization import to_serializable

from crew_moe.crew.call import LLMCall
from crew_moe.crew.tokens import usage_fields
from crew_moe.domain.chat import ChatReply
from crew_moe.domain.usage import Usage

if TYPE_CHECKING:
    from crew_moe.crew.routed_llm import RoutedLLM


def started(source: RoutedLLM, call: LLMCall) -> None:
    """The call begins; who will serve it is not known yet, so `model` names the seat's."""
    crewai_event_bus.emit(
        source,
        event=LLMCallStartedEvent(
            messages=to_serializable(call.messages),
            tools=to_serializable(call.tools) or None,
            available_functions=dict(call.available_functions) or None,
            model=source.model,
            temperature=call.sampling.temperature,
            max_tokens=call.sampling.max_tokens,
            stream=call.stream,
            seed=call.sampling.seed,
            stop_sequences=list(call.stop) or None,
            **_origin(call),
        ),
    )


def completed(
    source: RoutedLLM, call: LLMCall, response: Any, *, expert_id: str, usage: Usage, reply: ChatReply
) -> None:
    """The call was answered by `expert_id`; `usage` counts every attempt."""
    crewai_event_bus.emit(
        source,
        event=LLMCallCompletedEvent(
            messages=to_serializable(call.messages),
            response=to_serializable(response),
            call_type=LLMCallType.TOOL_CALL if reply.tool_calls else LLMCallType.LLM_CALL,
            model=expert_id,
            usage=usage_fields(usage),
            finish_reason=reply.finish_reason,
            **_origin(call),
        ),
    )


def failed(source: RoutedLLM, call: LLMCall, error: BaseException) -> None:
    """The call ended without an answer."""
    text = str(error) or type(error).__name__
    crewai_event_bus.emit(source, event=LLMCallFailedEvent(error=text, model=source.model, **_origin(call)))


def chunk(source: RoutedLLM, call: LLMCall, text: str) -> None:
    """A piece of a streamed answer."""
    crewai_event_bus.emit(
        source,
        event=LLMStreamChunkEvent(chunk=text, model=source.model, call_type=LLMCallType.LLM_CALL, **_origin(call)),
    )


def _origin(call: LLMCall) -> dict[str, Any]:
    return {"from_task": call.from_task, "from_agent": call.from_agent, "call_id": get_current_call_id()}
