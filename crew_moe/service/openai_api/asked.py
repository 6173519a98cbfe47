"""One chat completion request as the router takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crew_moe.auth.caller import Caller
from crew_moe.domain.expert import Expert
from crew_moe.domain.principal import Principal
from crew_moe.domain.request import RoutingRequest
from crew_moe.errors import InvalidRequest
from crew_moe.execution.completing import prepare
from crew_moe.router import Router
from crew_moe.service.openai_api.body import HINTS, ChatBody
from crew_moe.service.openai_api.names import EVERYTHING, Aim, Offer, aim_of
from crew_moe.surface.fault import Fault
from crew_moe.surface.sight import seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of the router, on whose behalf, and in which form the answer is to come.

    `local` is the id of the local expert that the model's name stands for.
    """

    request: RoutingRequest
    messages: list[dict[str, Any]]
    options: Mapping[str, Any]
    principal: Principal | None
    local: str | None
    stream: bool
    wants_usage: bool


def asked_of(body: ChatBody, router: Router, caller: Caller, offer: Offer = EVERYTHING) -> Asked | Fault:
    """The request in a body, or why nobody goes by the model's name. Raises InvalidRequest."""
    aim = aim_of(body.model, seen(router.registry, caller), offer)
    if isinstance(aim, Fault):
        return aim
    request = _request(body, aim)
    if aim.local is not None and request.fallbacks is None:
        others = _instead(aim.local, router, request, body, caller) if offer.is_whole else offer.instead
        request = request.model_copy(update={"fallbacks": others})
    return Asked(
        request=request,
        messages=body.messages,
        options=body.options(),
        principal=caller.acting,
        local=None if aim.local is None else aim.local.expert_id,
        stream=bool(body.stream),
        wants_usage=body.wants_usage,
    )


def _request(body: ChatBody, aim: Aim) -> RoutingRequest:
    """The routing request of hints, model name and OpenAI's own fields. Raises InvalidRequest."""
    hints = body.hints
    for name, value in aim.fields.items():
        if hints.get(name, value) != value:
            raise InvalidRequest(f"the model '{body.model}' says otherwise", where=f"{HINTS}.{name}", allowed=(value,))
    told = {"max_output_tokens": body.longest, "user": body.user}
    fields = {**{name: value for name, value in told.items() if value is not None}, **hints, **aim.fields}
    try:
        return RoutingRequest(**fields)
    except InvalidRequest as error:
        error.where = f"{HINTS}.{error.where}".rstrip(".")
        raise


def _instead(local: Expert, router: Router, request: RoutingRequest, body: ChatBody, caller: Caller) -> tuple[str, ...]:
    """Who answers where the local expert is down: its own fallback, else the best others. Raises InvalidRequest."""
    if local.fallback is not None:
        return (local.fallback,)
    whole, _ = prepare(request, body.messages, body.options(), stream=bool(body.stream))
    count = router.policy.limits.fallbacks
    best = router.experts(whole.model_copy(update={"pin": None}), top=count + 1, principal=caller.acting)
    return tuple(row.expert_id for row in best if row.expert_id != local.expert_id)[:count]
