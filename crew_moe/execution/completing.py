"""From a request to a chat, from a decision to a route, from an answer to a completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crew_moe.domain.budget import Ceiling, ScopeKind
from crew_moe.domain.chat import ChatRequest
from crew_moe.domain.decision import Decision
from crew_moe.domain.expert import Capability, Tier
from crew_moe.domain.money import to_nano
from crew_moe.domain.outcome import Completion
from crew_moe.domain.policy import Policy
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.task import TaskType
from crew_moe.errors import InvalidRequest, NotAvailable
from crew_moe.execution.conversation import text_of
from crew_moe.execution.errand import Errand
from crew_moe.execution.options import check_messages, checked
from crew_moe.execution.route import Answer, Route
from crew_moe.execution.spend import size_of


def prepare(
    request: RoutingRequest,
    messages: Sequence[Mapping[str, Any]] | None,
    options: Mapping[str, Any],
    *,
    stream: bool = False,
) -> tuple[RoutingRequest, ChatRequest]:
    """The chat to send, and the request completed by what the chat shows: its size, and the capabilities that it needs.

    Without messages the request's text is the one message of the user. Raises InvalidRequest for an option
    that is unknown or wrong.
    """
    if request.parallel:
        raise NotAvailable("parallel", where="stream" if stream else "complete")
    check_messages(messages)
    given = checked(options)
    if not messages and not request.text.strip():
        raise InvalidRequest("there is neither a text nor a message", where="messages")
    chat = ChatRequest(messages=tuple(messages or ({"role": "user", "content": request.text},)), **given)
    size = size_of(chat)
    shown = {
        Capability.TOOLS: bool(chat.tools),
        Capability.JSON: bool(chat.response_format),
        Capability.VISION: size.images > 0,
        Capability.STREAMING: stream,
    }
    update: dict[str, Any] = {"requires": request.requires | {need for need, seen in shown.items() if seen}}
    if not request.text:
        asked = [message for message in chat.messages if message.get("role") == "user"]
        update["text"] = text_of(asked[-1].get("content")) if asked else ""
        if request.task_type is None and not update["text"].strip():  # whatever is asked, it is not asked in words
            update["task_type"] = TaskType.MULTIMODAL if size.images or size.audio else TaskType.ANALYSIS
    if messages and request.context_tokens == 0:
        written = update.get("text", request.text)
        update["context_tokens"] = max(0, size.estimate - len(written) // 4)
    return request.model_copy(update=update), chat


def route_of(
    decision: Decision,
    experts: tuple[str, ...],
    request: RoutingRequest,
    policy: Policy,
    *,
    monotonic: float,
    errand: Errand,
) -> Route:
    """Experts in order, and the limits of time, money and length that hold for all attempts together."""
    task = policy.tasks[decision.features.task_type]
    profile = policy.profiles.get(request.profile) if request.profile else None
    ceilings = [request.max_output_tokens, profile.max_output_tokens if profile else None]
    ceiling = min((limit for limit in ceilings if limit is not None), default=task.max_output_tokens)
    return Route(
        decision_id=decision.decision_id,
        task_type=decision.features.task_type,
        experts=experts,
        max_attempts=policy.limits.max_attempts,
        attempt_timeout_ms=request.max_latency_ms or policy.tiers[Tier(decision.tier)].attempt_timeout_ms,
        deadline=None if request.deadline_ms is None else monotonic + request.deadline_ms / 1000.0,
        errand=errand,
        max_output_tokens=ceiling,
    )


def task_limits(request: RoutingRequest, policy: Policy) -> dict[ScopeKind, Ceiling]:
    """What the task may cost by the request and its profile."""
    profile = policy.profiles.get(request.profile) if request.profile else None
    given = (request.budget_usd, profile.budget_usd if profile else None)
    limit = min((to_nano(amount) for amount in given if amount is not None), default=None)
    return {} if limit is None else {ScopeKind.TASK: Ceiling(limit_nano=limit)}


def completion(decision: Decision, answer: Answer) -> Completion:
    """The answer with the decision behind it."""
    return Completion(
        text=answer.reply.text,
        expert_id=answer.expert_id,
        decision_id=decision.decision_id,
        attempts=answer.attempts,
        usage=answer.usage,
        cost_usd=answer.cost_usd,
        finish_reason=answer.reply.finish_reason,
        tool_calls=answer.reply.tool_calls,
    )
