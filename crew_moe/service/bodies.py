"""What POST /route and /route/batch take: our own request, or the body that seed 004's clients send.

A seed's request speaks of a `type` of work, its `complexity` and `priority`; it becomes a RoutingRequest whose text is
the `data`, or goes to the registered services of that type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError
from pydantic_core import from_json, to_json

from crew_moe.domain.complaint import complaint
from crew_moe.domain.expert import Tier
from crew_moe.domain.request import Name, RoutingRequest
from crew_moe.domain.task import TaskType, Urgency
from crew_moe.errors import InvalidInput, InvalidRequest
from crew_moe.services import SERVICE_STRATEGIES, Wanted
from crew_moe.strategies import STRATEGIES

Model = TypeVar("Model", bound=BaseModel)

ADAPTIVE: Final = "adaptive"
"""Seed 004's word for leaving the choice of a strategy to the router: the policy's own."""
MAX_BATCH: Final = 10_000
_TASK_TYPES: Final = frozenset(TaskType)
_COMPLEXITY: Final = {
    "simple": Tier.FAST,
    "low": Tier.FAST,
    "moderate": Tier.BASELINE,
    "medium": Tier.BASELINE,
    "complex": Tier.PREMIUM,
    "high": Tier.PREMIUM,
}
_SIMPLE_BELOW: Final = 1 / 3
_COMPLEX_FROM: Final = 2 / 3

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
Complexity = Fraction | Literal["simple", "low", "moderate", "medium", "complex", "high"]


class Work(BaseModel):
    """One request in seed 004's words. `type` is a service's `service_type`, one of its capabilities, a task type, or
    any other word, which then says nothing; `complexity` from 0 to 1 or a word wants a tier.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Annotated[str, Field(max_length=200, pattern=r"\S")]
    data: Any = None
    priority: Fraction | None = None
    complexity: Complexity | None = None
    capabilities: tuple[Name, ...] = ()
    session_key: Name | None = None


# All of them and not `\s`, by which each language of patterns means something else.
_BLANKS: Final = "".join(char for char in map(chr, range(0x3001)) if char.isspace())


def _above(tier: str, *ceilings: str) -> dict[str, Any]:
    """A request whose wanted tier lies above its ceiling."""
    told = {"tier": {"const": tier}, "max_tier": {"enum": list(ceilings)}}
    return {"required": list(told), "properties": told}


class RouteRequest(RoutingRequest):
    """A RoutingRequest as it stands in a body, with a text or the type of the task that it would be inferred from.

    Pydantic makes it without a call into Python, at half the price.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "anyOf": [
                {"required": ["task_type"], "properties": {"task_type": {"type": "string"}}},
                {"required": ["text"], "properties": {"text": {"pattern": f"[^{_BLANKS}]"}}},
            ],
            "not": {"anyOf": [_above("baseline", "fast"), _above("premium", "fast", "baseline")]},
        },
    )

    __init__ = BaseModel.__init__


class WrappedWork(BaseModel):
    """Seed 004's body of POST /route."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Work
    routing_strategy: Name | None = None
    proxy: StrictBool = False


class Batch(BaseModel):
    """Body of POST /route/batch: requests of either kind, which may be mixed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: Annotated[list[RouteRequest | Work], Field(min_length=1, max_length=MAX_BATCH)]
    routing_strategy: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as the router takes it; `work` is set where it came in seed 004's words."""

    request: RoutingRequest
    work: Work | None = None
    service_strategy: str | None = None
    proxy: bool = False


class OwnBatch(BaseModel):
    """A batch of our own requests alone, the common case: read in one go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: Annotated[list[RouteRequest], Field(min_length=1, max_length=MAX_BATCH)]


def read_asked(body: bytes) -> Asked:
    """The request in a body. Raises InvalidRequest, which names the field."""
    try:
        return Asked(request=RouteRequest.model_validate_json(body))
    except ValidationError as error:
        own = error
    raw = parsed(body)
    if isinstance(raw, dict) and isinstance(raw.get("data"), dict):
        wrapped = validated(WrappedWork, raw)
        return _asked(wrapped.data, wrapped.routing_strategy, proxy=wrapped.proxy)
    raise _told(own, RouteRequest)


def read_batch(body: bytes) -> Sequence[Asked | RoutingRequest]:
    """The requests in a body: all of our own kind, or each with what it is."""
    try:
        return OwnBatch.model_validate_json(body).requests
    except ValidationError as error:
        own = error
    raw = parsed(body)
    rows = raw.get("requests") if isinstance(raw, dict) else None
    works = isinstance(rows, list) and any(isinstance(row, dict) and "type" in row for row in rows)
    if not works and (not isinstance(raw, dict) or "routing_strategy" not in raw):
        raise _told(own, OwnBatch)
    batch = validated(Batch, raw)
    _check_strategy(batch.routing_strategy)
    return [_row(row, batch.routing_strategy) for row in batch.requests]


def _row(row: RoutingRequest | Work, strategy: str | None) -> Asked:
    if isinstance(row, Work):
        return _asked(row, strategy)
    if row.strategy is None and strategy in STRATEGIES:
        row = row.model_copy(update={"strategy": strategy})
    return Asked(request=row)


def read_model(model: type[Model], body: bytes) -> Model:
    """The one model that a body must be. Raises InvalidRequest, which names the field."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        told = _told(error, model)
    raise told


def parsed(body: bytes) -> Any:
    """The JSON of a body. Raises InvalidRequest."""
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError:
        raise InvalidRequest("is no JSON", where="body") from None


def validated(model: type[Model], raw: Any) -> Model:
    """The body as its model has it. Raises InvalidRequest, which names the field."""
    return read_model(model, to_json(raw))


def _told(error: ValidationError, model: type[BaseModel]) -> InvalidRequest:
    first = error.errors(include_url=False)[0]
    inner = first.get("ctx", {}).get("error")
    if first["type"] == "json_invalid":
        return InvalidRequest("is no JSON", where="body")
    if isinstance(inner, InvalidInput):  # a request inside the body has said it already
        where = ".".join(filter(None, (*map(str, first["loc"]), inner.where)))
        return InvalidRequest(inner.what, where=where, value=inner.closest, allowed=inner.allowed)
    what, where, value, allowed = complaint(error, model)
    return InvalidRequest(what, where=where, value=value, allowed=allowed)


def _asked(work: Work, strategy: str | None, *, proxy: bool = False) -> Asked:
    """The request that a seed's words come to."""
    _check_strategy(strategy)
    task_type = TaskType(work.type) if work.type in _TASK_TYPES else None
    request = RoutingRequest(
        task_type=task_type,
        text=_text(work.data) or work.type,
        tier=_tier(work.complexity),
        urgency=_urgency(work.priority),
        session_key=work.session_key,
        strategy=strategy if strategy in STRATEGIES else None,
    )
    chosen = strategy if strategy in SERVICE_STRATEGIES else None
    return Asked(request=request, work=work, service_strategy=chosen, proxy=proxy)


def _check_strategy(strategy: str | None) -> None:
    allowed = (ADAPTIVE, *sorted(STRATEGIES), *SERVICE_STRATEGIES)
    if strategy is not None and strategy not in allowed:
        raise InvalidRequest("is unknown", where="routing_strategy", value=strategy, allowed=allowed)


def wanted_of(work: Work, strategy: str | None) -> Wanted:
    """What the work wants of a registered service."""
    return Wanted(
        type=work.type,
        capabilities=work.capabilities,
        complexity=_degree(work.complexity),
        priority=0.5 if work.priority is None else work.priority,
        strategy=strategy,
    )


def _degree(complexity: Complexity | None) -> float:
    if complexity is None or isinstance(complexity, str):
        return 0.5 if complexity is None else _COMPLEXITY[complexity].rank / 2
    return complexity


def _text(data: Any) -> str:
    if data is None:
        return ""
    return data if isinstance(data, str) else to_json(data).decode()


def _tier(complexity: Complexity | None) -> Tier | None:
    if complexity is None or isinstance(complexity, str):
        return None if complexity is None else _COMPLEXITY[complexity]
    if complexity < _SIMPLE_BELOW:
        return Tier.FAST
    return Tier.BASELINE if complexity < _COMPLEX_FROM else Tier.PREMIUM


def _urgency(priority: float | None) -> Urgency | None:
    if priority is None:
        return None
    if priority < _SIMPLE_BELOW:
        return Urgency.LOW
    return Urgency.NORMAL if priority < _COMPLEX_FROM else Urgency.HIGH
