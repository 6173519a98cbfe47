"""POST /strategy/override: another strategy, or one expert, for some requests and for some time."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from crew_moe.auth.caller import AccessScope, Caller
from crew_moe.domain.request import Name
from crew_moe.domain.task import TaskType
from crew_moe.routing.reports import pin_row
from crew_moe.service.access import API, GuardedRoute, caller_of, needs
from crew_moe.service.bodies import read_model
from crew_moe.service.documents import document
from crew_moe.service.examples import OVERRIDES
from crew_moe.service.views import ClearedView, OverrideView
from crew_moe.surface.operations import Operations

MAX_MINUTES: Final = 60 * 24 * 366


_NULL: Final = {"type": "null"}
_FALSE: Final = {"const": False}


def _only(name: str, **others: dict[str, Any]) -> dict[str, Any]:
    """A body in which this field stands and the others say nothing."""
    given = {} if name in others else {name: {"type": "string"}}
    return {"required": [name], "properties": {**given, **others}}


class Override(BaseModel):
    """What to put in force: a `strategy` or an `expert_id`, or with `clear` what to take away (both absent: all).

    `task_type` and `tenant` narrow it; absent `minutes` mean until it is cleared.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "oneOf": [
                _only("strategy", expert_id=_NULL, clear=_FALSE),
                _only("expert_id", strategy=_NULL, clear=_FALSE),
                _only("clear", strategy=_NULL, expert_id=_NULL, clear={"const": True}),
            ]
        },
    )

    strategy: Name | None = None
    expert_id: Name | None = None
    clear: StrictBool = False
    task_type: TaskType | None = None
    tenant: Name | None = None
    minutes: Annotated[float, Field(gt=0, le=MAX_MINUTES, allow_inf_nan=False, strict=True)] | None = None
    reason: Annotated[str, Field(max_length=500)] = ""

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        named = [name for name in (self.strategy, self.expert_id) if name is not None]
        if len(named) + self.clear != 1:
            raise ValueError("give one of strategy, expert_id and clear")
        return self


def overriding_routes(operations: Operations) -> APIRouter:
    """The endpoint that overrides."""
    routes = APIRouter(prefix=API, route_class=GuardedRoute, tags=["routing"])

    @routes.post(
        "/strategy/override",
        response_model=OverrideView | ClearedView,
        summary="Override routing strategy",
        openapi_extra=document(Override, examples=OVERRIDES),
    )
    @needs(AccessScope.ADMIN)
    async def override(request: Request) -> dict[str, Any]:
        """In force at once, in every replica; requests that name a strategy or a pin of their own keep it."""
        asked = read_model(Override, await request.body())
        return await run_in_threadpool(_override, operations, caller_of(request), asked)

    return routes


def _override(operations: Operations, caller: Caller, asked: Override) -> dict[str, Any]:
    narrowed: dict[str, Any] = {"task_type": asked.task_type, "tenant": asked.tenant}
    if asked.clear:
        return {"removed": operations.unpin(caller, **narrowed)}
    terms = {**narrowed, "minutes": asked.minutes, "reason": asked.reason}
    if asked.strategy is not None:
        return pin_row(operations.rank_by(caller, asked.strategy, **terms))
    return pin_row(operations.pin(caller, str(asked.expert_id), **terms))
