"""What a `routing:` block may say, and the checks on it that need no crew.

The same block stands in tasks.yaml, in agents.yaml (as the agent's defaults) and in a sidecar routing.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from crew_moe.domain.complaint import complaint
from crew_moe.domain.expert import Capability, Tier
from crew_moe.domain.policy import Policy
from crew_moe.domain.registry import Registry
from crew_moe.domain.request import MaxTokens, Milliseconds, Name, Parallel, Unit, Usd
from crew_moe.domain.task import Risk, TaskType, Urgency
from crew_moe.errors import ConfigError, NotAvailable
from crew_moe.strategies import STRATEGIES


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataRules(_Strict):
    """Where the task's text may go, and what happens to personal data in it."""

    residency: Name | None = None
    pii: Literal["allow", "redact", "local_only", "deny"] = "allow"


class Verify(_Strict):
    """What an answer must satisfy; `python` is `module:function`."""

    json_schema: Name | None = None
    regex: Name | None = None
    min_chars: Annotated[int, Field(gt=0)] | None = None
    cites: bool | None = None
    python: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Verify:
        if not self.model_fields_set:
            raise ValueError("name at least one check")
        return self


class RoutingBlock(_Strict):
    """One `routing:` block. Money in US$, times in ms; `max_latency_ms` is per call, the rest per task."""

    task_type: TaskType | None = None
    tier: Tier | None = None
    max_tier: Tier | None = None
    min_quality: Unit | None = None
    budget_usd: Usd | None = None
    max_latency_ms: Milliseconds | None = None
    deadline_ms: Milliseconds | None = None
    requires: tuple[Capability, ...] = ()
    data: DataRules = DataRules()
    risk: Risk | None = None
    urgency: Urgency | None = None
    strategy: Name | None = None
    profile: Name | None = None
    parallel: Parallel | Literal["auto"] | bool | None = None
    verify: Verify | None = None
    fallbacks: tuple[Name, ...] | None = None
    pin: Name | None = None
    preferred_providers: tuple[Name, ...] = ()
    approval: Tier | None = None
    max_output_tokens: MaxTokens | None = None
    critical: bool = False
    tenant: Name | None = None
    project: Name | None = None

    def request_fields(self) -> dict[str, Any]:
        """The block as fields of a RoutingRequest, absent ones left out."""
        fields = {name: getattr(self, name) for name in _REQUEST_FIELDS if name in self.model_fields_set}
        fields["requires"] = frozenset(self.requires)
        fields["residency"] = self.data.residency
        fields["pii"] = self.data.pii
        return fields


_REQUEST_FIELDS: Final = tuple(
    name for name in RoutingBlock.model_fields if name not in {"requires", "data", "parallel", "verify", "approval"}
)


def routing_schema() -> dict[str, Any]:
    """JSON Schema of a `routing:` block, for editors."""
    schema = RoutingBlock.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "crew-moe routing block", **schema}


def parse_block(raw: object, *, file: str, key: str) -> dict[str, Any]:
    """The keys that a block sets, validated; raises ConfigError (what, where, allowed, closest) or NotAvailable."""
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise ConfigError(
            "a routing block must be a mapping", file=file, key=key, allowed=sorted(RoutingBlock.model_fields)
        )
    try:
        block = RoutingBlock.model_validate(dict(raw))
    except ValidationError as error:
        what, at, value, allowed = complaint(error, RoutingBlock)
    else:
        _refuse_what_can_not_run(block, f"{file}: {key}")
        return block.model_dump(exclude_unset=True)
    raise ConfigError(what, file=file, key=f"{key}.{at}" if at else key, value=value, allowed=allowed)


def _refuse_what_can_not_run(block: RoutingBlock, where: str) -> None:
    """Features that the schema knows and this version lacks are refused by name, never ignored."""
    if block.parallel not in (None, False):
        raise NotAvailable("parallel", where=where)
    if block.verify is not None:
        raise NotAvailable("verify", where=where)


def check_names(block: Mapping[str, Any], registry: Registry, policy: Policy, *, file: str, key: str) -> None:
    """Every expert, provider, profile and strategy that the block names must exist."""
    wanted: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
        ("pin", _names(block.get("pin")), tuple(registry.by_id)),
        ("fallbacks", _names(block.get("fallbacks")), tuple(registry.by_id)),
        ("preferred_providers", _names(block.get("preferred_providers")), registry.providers),
        ("profile", _names(block.get("profile")), tuple(policy.profiles)),
        ("strategy", _names(block.get("strategy")), tuple(STRATEGIES)),
    )
    for name, given, allowed in wanted:
        for value in given:
            if value not in allowed:
                raise ConfigError(
                    f"unknown {_NOUNS[name]} '{value}'",
                    file=file,
                    key=f"{key}.{name}",
                    value=value,
                    allowed=sorted(allowed),
                )


_NOUNS: Final = {
    "pin": "expert",
    "fallbacks": "expert",
    "preferred_providers": "provider",
    "profile": "profile",
    "strategy": "strategy",
}


def _names(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)
