"""Examples of who may use which experts, as YAML files: what tests of access rules are written in.

- name: only leads may use premium experts
  principal: {tenant: acme, roles: [lead]}       # as authentication would say it; user, workspace, channel too
  request: {risk: high, residency: eu}           # any fields of a request; without a task type it is an analysis
  expect:
    allowed: [claude-opus-4]                     # no rule forbids them
    forbidden: [gpt-4o]                          # some rule forbids them ...
    forbidden_by: European data stays in Europe  # ... and this one does
    only: []                                     # or: whoever is allowed, all of them
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from pydantic import ValidationError, model_validator

from crew_moe.catalog.schema import Entry
from crew_moe.documents import read_yaml
from crew_moe.domain.access import Demands
from crew_moe.domain.complaint import complaint
from crew_moe.domain.principal import Principal
from crew_moe.domain.registry import Registry
from crew_moe.domain.request import Name, RoutingRequest
from crew_moe.domain.task import TaskType
from crew_moe.errors import ConfigError, InvalidInput
from crew_moe.gating.access import AccessControl, asker

UNSAID: Final = {"task_type": TaskType.ANALYSIS}


class PrincipalEntry(Entry):
    user: Name | None = None
    tenant: Name | None = None
    roles: tuple[Name, ...] = ()
    workspace: Name | None = None
    channel: Name | None = None


class ExpectEntry(Entry):
    allowed: list[Name] | None = None
    forbidden: list[Name] | None = None
    forbidden_by: Name | None = None
    only: list[Name] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.allowed is None and self.forbidden is None and self.only is None:
            raise ValueError("expects nothing; name experts under 'allowed', 'forbidden' or 'only'")
        if self.forbidden_by is not None and not self.forbidden:
            raise ValueError("'forbidden_by' needs experts under 'forbidden'")
        return self


class ExampleEntry(Entry):
    name: Name
    principal: PrincipalEntry | None = None
    request: Mapping[str, Any] | None = None
    expect: ExpectEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One question to access rules and the answer that somebody expects. Sets are of expert ids, None where anything
    will do.
    """

    name: str
    file: str
    principal: Principal
    request: RoutingRequest
    allowed: frozenset[str]
    forbidden: frozenset[str]
    forbidden_by: str | None
    only: frozenset[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An expert that the rules judge otherwise than the example: what they say, and what it expects."""

    expert_id: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.expert_id} is {self.found}, not {self.expected}"


def load_examples(file: Path, registry: Registry) -> tuple[Example, ...]:
    """The examples of a file. Raises ConfigError, which names file and key."""
    document = read_yaml(file)
    if not isinstance(document, list) or not document:
        raise ConfigError("must be a list of examples", file=str(file), allowed=sorted(ExampleEntry.model_fields))
    return tuple(_example(raw, registry, str(file), index) for index, raw in enumerate(document))


def differences(example: Example, access: AccessControl, registry: Registry) -> tuple[Difference, ...]:
    """Every expert that the rules judge otherwise, in the order of their ids."""
    demands = access.demands_of(example.request, example.principal)
    return tuple(difference for expert in registry for difference in _judged(example, expert.expert_id, demands))


def _judged(example: Example, expert_id: str, demands: Demands) -> Iterator[Difference]:
    rules = demands.rules_against(expert_id)
    found = _forbidden(rules) if rules else "allowed"
    may = expert_id in example.allowed or (example.only is not None and expert_id in example.only)
    must_not = expert_id in example.forbidden or (example.only is not None and expert_id not in example.only)
    if may and rules:
        yield Difference(expert_id=expert_id, found=found, expected="allowed")
    elif must_not and not rules:
        yield Difference(expert_id=expert_id, found=found, expected="forbidden")
    elif expert_id in example.forbidden and example.forbidden_by not in (None, *rules):
        yield Difference(expert_id=expert_id, found=found, expected=_forbidden([str(example.forbidden_by)]))


def _forbidden(rules: Sequence[str]) -> str:
    return "forbidden by " + " and ".join(f"'{rule}'" for rule in rules)


def _example(raw: object, registry: Registry, file: str, index: int) -> Example:
    try:
        entry = ExampleEntry.model_validate(raw)
    except ValidationError as error:
        what, key, value, allowed = complaint(error, ExampleEntry)
        raise ConfigError(what, file=file, key=_key(index, key), value=value, allowed=allowed) from None
    request = _request(entry.request or {}, file, index)
    expect = entry.expect
    for key in ("allowed", "forbidden", "only"):
        for word in getattr(expect, key) or ():
            if word not in registry:
                raise ConfigError(
                    f"unknown expert '{word}'",
                    file=file,
                    key=_key(index, f"expect.{key}"),
                    value=word,
                    allowed=sorted(registry.by_id),
                )
    return Example(
        name=entry.name,
        file=file,
        principal=asker(request) if entry.principal is None else _principal(entry.principal),
        request=request,
        allowed=frozenset(expect.allowed or ()),
        forbidden=frozenset(expect.forbidden or ()),
        forbidden_by=expect.forbidden_by,
        only=None if expect.only is None else frozenset(expect.only),
    )


def _request(fields: Mapping[str, Any], file: str, index: int) -> RoutingRequest:
    given = dict(fields) if "text" in fields else {**UNSAID, **fields}
    try:
        return RoutingRequest(**given)
    except InvalidInput as error:
        key = _key(index, f"request.{error.where}".rstrip("."))
        raise ConfigError(error.what, file=file, key=key, value=error.closest, allowed=error.allowed) from None


def _principal(entry: PrincipalEntry) -> Principal:
    return Principal(
        subject=entry.user or "",
        tenant=entry.tenant,
        roles=frozenset(entry.roles),
        workspace=entry.workspace,
        channel=entry.channel,
    )


def _key(index: int, key: str) -> str:
    return f"{index}.{key}" if key else str(index)
