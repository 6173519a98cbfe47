"""What the local gate's endpoints take and answer, in seed 003's words."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from crew_moe.domain.expert import Tier
from crew_moe.domain.local_work import Asked, LocalTask, Processed
from crew_moe.domain.request import Name
from crew_moe.service.examples import Examples
from crew_moe.service.views import View

MAX_TIMEOUT_MS: Final = 600_000
MAX_TEXT: Final = 50_000_000
AUTO: Final = "auto"


class ProcessRequest(BaseModel):
    """One text and what is to be done with it. Without an `expert` (or with `auto`) the gate chooses. `options` are the
    expert's own words. `flexible: false` wants the answer that was asked for under load too, and no cheaper one;
    `fallback: false` keeps the text here whatever happens.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Annotated[str, Field(max_length=MAX_TEXT)]
    task: LocalTask = LocalTask.PROCESS
    expert: Name | None = None
    options: dict[str, Any] = Field(default={})
    timeout_ms: Annotated[float, Field(gt=0, le=MAX_TIMEOUT_MS, allow_inf_nan=False, strict=True)] | None = None
    tier: Tier = Tier.BASELINE
    flexible: StrictBool = True
    fallback: StrictBool = True

    def asked(self, tenant: str | None) -> Asked:
        """The same as the gate takes it, on a tenant's behalf."""
        return Asked(
            text=self.text,
            expert=None if self.expert == AUTO else self.expert,
            task=self.task,
            options=self.options,
            tier=self.tier,
            timeout_s=None if self.timeout_ms is None else self.timeout_ms / 1000,
            flexible=self.flexible,
            tenant=tenant,
        )


class ReloadRequest(BaseModel):
    """Whose models are loaded anew; without names, everybody's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experts: Annotated[list[Name], Field(min_length=1, max_length=1000)] | None = None


class UsageView(View):
    input_tokens: int
    output_tokens: int


class ProcessedView(View):
    """An answer: a text, or for `embed` its vector. Times in seconds; `tried` are experts that did not answer, and why.
    A `cached` one was made for a text that is as near as `similarity` says; a `light` one under load, with less effort.
    `notice` says so where another than a hosted expert answered.
    """

    result: str | list[float]
    expert_used: str
    confidence: float
    processing_time: float
    input_features: dict[str, float]
    model_version: str
    finish_reason: str
    usage: UsageView
    cached: bool
    similarity: float
    profile: Literal["full", "light"]
    tried: dict[str, str]
    notice: str | None


class JobView(View):
    """One text that is worked on in the background. `expires_in_s` runs from its end; times in seconds."""

    job_id: str
    status: Literal["processing", "done", "failed", "cancelled"]
    elapsed_s: float
    characters: int
    expires_in_s: float | None
    answer: ProcessedView | None
    error: dict[str, Any] | None


class HealthView(View):
    """Seed 003's four fields, and beside them how each hosted expert is and what the gate tells of itself."""

    status: Literal["healthy", "unhealthy"]
    models_loaded: bool
    cuda_available: bool
    device: str
    experts: dict[str, dict[str, Any]]
    gate: dict[str, Any]


class ReloadView(View):
    """What was loaded anew, and what was not: there the old model stays."""

    reloaded: list[str]
    failed: dict[str, dict[str, Any]]


def processed_row(done: Processed, *, notice: str | None = None) -> dict[str, Any]:
    """A ProcessedView."""
    return {
        "result": done.result if isinstance(done.result, str) else list(done.result),
        "expert_used": done.expert_used,
        "confidence": done.confidence,
        "processing_time": round(done.processing_time_s, 6),
        "input_features": dict(done.input_features),
        "model_version": done.model_version,
        "finish_reason": done.finish_reason,
        "usage": {"input_tokens": done.input_tokens, "output_tokens": done.output_tokens},
        "cached": done.cached,
        "similarity": done.similarity,
        "profile": done.profile,
        "tried": {name: str(trouble) for name, trouble in done.tried},
        "notice": notice,
    }


PROCESSES: Final[Examples] = {
    "auto": {"summary": "The gate chooses", "value": {"text": "Analyze this product ID: XJ-2023/Ω§-556*"}},
    "expert": {
        "summary": "An expert of one's own choice",
        "value": {"text": "The pump failed. It was old. The door is red.", "expert": "extractive", "timeout_ms": 30000},
    },
}
RELOADS: Final[Examples] = {
    "all": {"summary": "All models", "value": {}},
    "one": {"summary": "One of them", "value": {"experts": ["extractive"]}},
}
