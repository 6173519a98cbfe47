"""What goes wrong, where and when: the script of a simulation, as YAML or in Python.

speed: 0.02                     # factor on every expert's own latency; 0 answers at once
rules:                          # the first rule that fits decides alone
  - provider: anthropic         # or expert: claude-opus-4; neither means everyone
    error: 500
    from_call: 3                # calls of that expert, provider or everyone, counted from 1, both ends included
    to_call: 5
  - expert: gpt-5
    after_s: 10                 # seconds since the start of the simulation; until_s is excluded
    until_s: 20
    latency_ms: 4000            # exact: not multiplied by speed
  - expert: gpt-4o
    cached_share: 0.5           # of the input is told to come from a cache
limits:                         # beyond them an expert answers 429; every answer of it tells where they stand
  gpt-4o: {requests_per_minute: 60, input_tokens_per_minute: 30000, concurrent: 4}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from crew_moe.catalog.expert_schema import RateLimitsEntry
from crew_moe.catalog.parse import parse_layers
from crew_moe.domain.complaint import complaint
from crew_moe.domain.expert import Expert
from crew_moe.domain.meter import RateLimits
from crew_moe.domain.registry import Registry
from crew_moe.domain.request import Name, Unit
from crew_moe.errors import ConfigError

DEFAULT_SPEED: Final = 0.02
IN_CODE: Final = "script"
"""Stands where the name of the file would, when a script is given as a value."""

Fault = Literal[429, 500, 503, 401, 404, "timeout", "reset", "malformed", "cut_stream", "slow_drip"]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
CallNumber = Annotated[int, Field(ge=1)]


class Rule(BaseModel):
    """One cue: whom it strikes, when, and what happens. Without `error` the answer is whole, only later."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    expert: Name | None = None
    provider: Name | None = None
    error: Fault | None = None
    latency_ms: Seconds | None = None
    drip_ms: Seconds = 50.0
    retry_after_s: Seconds | None = None
    cached_share: Unit = 0.0
    from_call: CallNumber = 1
    to_call: CallNumber | None = None
    after_s: Seconds = 0.0
    until_s: Seconds | None = None

    @model_validator(mode="after")
    def _coherent(self) -> Rule:
        if self.expert is not None and self.provider is not None:
            raise ValueError("a rule names an expert or a provider, not both")
        if self.to_call is not None and self.to_call < self.from_call:
            raise ValueError("to_call lies before from_call")
        if self.until_s is not None and self.until_s <= self.after_s:
            raise ValueError("until_s must lie after after_s")
        return self

    @property
    def subject(self) -> str:
        """Whose calls are counted: "expert:ID", "provider:NAME" or "all"."""
        if self.expert is not None:
            return f"expert:{self.expert}"
        return f"provider:{self.provider}" if self.provider is not None else "all"

    @property
    def speaks(self) -> bool:
        """Whether anything of the expert's own answer is sent."""
        return self.error is None or self.error in ("malformed", "cut_stream", "slow_drip")

    def fits(self, calls: Mapping[str, int], elapsed_s: float) -> bool:
        """Whether the rule strikes a call; `calls` has its number for each subject that it belongs to, from 1."""
        number = calls.get(self.subject)
        if number is None or number < self.from_call or elapsed_s < self.after_s:
            return False
        if self.to_call is not None and number > self.to_call:
            return False
        return self.until_s is None or elapsed_s < self.until_s


class Script(BaseModel):
    """The whole script. Immutable; who dies and revives by hand is not part of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    speed: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = DEFAULT_SPEED
    rules: tuple[Rule, ...] = ()
    limits: Mapping[Name, RateLimitsEntry] = {}

    def rule_for(self, calls: Mapping[str, int], elapsed_s: float) -> Rule | None:
        """The first rule that fits, or None."""
        return next((rule for rule in self.rules if rule.fits(calls, elapsed_s)), None)

    def rate_limits(self) -> dict[str, RateLimits]:
        """What each expert takes, of those that have limits."""
        return {expert_id: RateLimits(**entry.model_dump()) for expert_id, entry in self.limits.items()}

    def delay_s(self, expert: Expert, rule: Rule | None) -> float:
        """Seconds from the request to the last byte of a healthy answer."""
        exact = rule.latency_ms if rule is not None else None
        return (expert.latency_p50_ms * self.speed if exact is None else exact) / 1000


def subjects(expert: Expert) -> tuple[str, ...]:
    """Every subject that a call of this expert belongs to."""
    return (f"expert:{expert.expert_id}", f"provider:{expert.provider}", "all")


def load_script(source: str | Path | Mapping[str, Any] | Script | None, registry: Registry) -> Script:
    """A script from a file, a mapping or None (nothing goes wrong), checked against the registry.

    Raises ConfigError, which names file, key, what is allowed and the closest match.
    """
    if isinstance(source, Script):
        script, file = source, IN_CODE
    elif source is None or isinstance(source, Mapping):
        script, file = _parsed(source or {}), IN_CODE
    else:
        script, file = parse_layers([Path(source)], Script), str(source)
    _check_names(script, registry, file)
    return script


def _parsed(values: Mapping[str, Any]) -> Script:
    try:
        return Script.model_validate(values)
    except ValidationError as error:
        what, key, value, allowed = complaint(error, Script)
    raise ConfigError(what, file=IN_CODE, key=key, value=value, allowed=allowed)


def _check_names(script: Script, registry: Registry, file: str) -> None:
    for expert_id in script.limits:
        if expert_id not in registry:
            what, allowed = f"unknown expert '{expert_id}'", tuple(registry.by_id)
            raise ConfigError(what, file=file, key=f"limits.{expert_id}", value=expert_id, allowed=allowed)
    known = {"expert": tuple(registry.by_id), "provider": registry.providers}
    for index, rule in enumerate(script.rules):
        for kind, allowed in known.items():
            name = getattr(rule, kind)
            if name is not None and name not in allowed:
                raise ConfigError(
                    f"unknown {kind} '{name}'",
                    file=file,
                    key=f"rules.{index}.{kind}",
                    value=name,
                    allowed=allowed,
                )
