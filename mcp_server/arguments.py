"""What the tools take, where the domain has no model for it already."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import Field, WithJsonSchema, model_validator

from crew_moe.domain.entry import Entry
from crew_moe.domain.expert import Capability, Tier
from crew_moe.domain.request import Name, Usd
from crew_moe.domain.task import TaskType
from crew_moe.simulation import DEFAULT_DECISIONS, MAX_DECISIONS
from crew_moe.surface.page import DEFAULT_LIMIT, MAX_LIMIT

MAX_MINUTES: Final = 5_256_000  # ten years
# suggest_route lists these words; to list them again would cost every client's model its context.
AWord = WithJsonSchema({"type": "string"})
TaskTypeWord = Annotated[TaskType, AWord]
CapabilityWord = Annotated[Capability, AWord]
Decisions = Annotated[int, Field(ge=1, le=MAX_DECISIONS, strict=True)]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, strict=True)]
Minutes = Annotated[float, Field(gt=0, le=MAX_MINUTES, allow_inf_nan=False, strict=True)]


class Arguments(Entry):
    """Arguments of one tool."""


class ExpertsAsked(Arguments):
    tier: Tier | None = None
    provider: Name | None = None
    capabilities: frozenset[CapabilityWord] = frozenset()
    available: bool | None = None
    fields: tuple[Name, ...] = ()
    cursor: Name | None = None
    limit: Limit = DEFAULT_LIMIT


class HealthAsked(Arguments):
    expert_id: Name | None = None
    cursor: Name | None = None
    limit: Limit = DEFAULT_LIMIT


class DecisionAsked(Arguments):
    decision_id: Name


class Candidate(Arguments):
    policy: dict[str, Any] | str
    decisions: Decisions = DEFAULT_DECISIONS
    task_type: TaskTypeWord | None = None


class BudgetAsked(Arguments):
    scope: Name | None = None


class Override(Arguments):
    expert_id: Name
    task_type: TaskTypeWord | None = None
    task: Name | None = None
    tenant: Name | None = None
    minutes: Minutes | None = None
    reason: Annotated[str, Field(max_length=500)] = ""


class OverridesToClear(Arguments):
    expert_id: Name | None = None
    task_type: TaskTypeWord | None = None
    task: Name | None = None
    tenant: Name | None = None
    everything: bool = False

    @model_validator(mode="after")
    def _names_some(self) -> Self:
        if not (self.everything or self.model_fields_set - {"everything"}):
            raise ValueError("say which overrides: an expert_id, task_type, task or tenant, or everything: true")
        return self


class CrewInputs(Arguments):
    inputs: dict[str, str | float | bool] = Field(default_factory=dict)
    budget_usd: Usd | None = None
