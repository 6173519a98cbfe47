"""Fills a JSON schema (a tool's parameters, a response format) with what a text holds.

Strict filling is for tools: a required field that the text can't fill means that the tool can't be called, and
optional fields stay away. Lenient filling is for structured answers: what the text can't fill gets the schema's default
or the plainest value of its type, so that the answer is valid. A boolean without a default is false: nothing here can
judge. Only what CrewAI goes on asking until it is true (a plan that is ready, a result that is valid) is true.
`pattern`, `multipleOf` and `not` are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from crew_moe.local_gate.extractive.supply import MAX_CHARS, Supply

MAX_DEPTH: Final = 8
MAX_NODES: Final = 2_000
"""Values in one answer: a schema that refers to itself must come to an end."""
MAX_ITEMS: Final = 5
MAX_LEAST: Final = 100

CONSENTS: Final = frozenset({"ready", "valid"})
"""What CrewAI calls the answers that let an agent with `reasoning` and a task with a guardrail in words go on."""

Schema = Mapping[str, Any]


class _Missing:
    """What the text can't fill; never part of a result."""


MISSING: Final = _Missing()

_PLAINEST: Final = {
    "date": "1970-01-01",
    "date-time": "1970-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT0S",
    "email": "unknown@example.invalid",
    "uri": "https://example.invalid/",
    "uuid": "00000000-0000-0000-0000-000000000000",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    """One place to fill: its schema, the field's name, what to fill it with, and how deep it lies."""

    schema: Schema
    name: str
    supply: Supply
    depth: int

    def inner(self, schema: Any, *, name: str | None = None, supply: Supply | None = None) -> _Slot:
        """A place inside this one."""
        return _Slot(
            schema=_mapping(schema),
            name=self.name if name is None else name,
            supply=supply or self.supply,
            depth=self.depth + 1,
        )


def fill(schema: Schema, supply: Supply, *, strict: bool = False) -> Any:
    """A JSON value for `schema`; MISSING when `strict` and the text can't fill a required field."""
    return _Filler(schema, strict=strict).fill(_Slot(schema=schema, name="", supply=supply, depth=0))


class _Filler:
    """One walk through one schema; `$ref` looks in `root`."""

    def __init__(self, root: Schema, *, strict: bool) -> None:
        self._root = root
        self._strict = strict
        self._left = MAX_NODES

    def fill(self, slot: _Slot) -> Any:
        self._left -= 1
        slot = replace(slot, schema=self._resolved(slot.schema))
        schema = slot.schema
        if "const" in schema:
            return schema["const"]
        if "default" in schema and not self._strict:
            return schema["default"]
        if "enum" in schema:
            return self._choice(_list(schema["enum"]), slot.supply)
        branches = _list(schema.get("anyOf")) or _list(schema.get("oneOf"))
        if branches:
            return self._branch(branches, slot)
        return _TYPES[self._type(slot)](self, slot)

    def _resolved(self, schema: Schema) -> Schema:
        """The schema behind `$ref`, with the parts of `allOf` laid under it."""
        for _ in range(MAX_DEPTH):
            if "$ref" in schema:
                schema = {**self._target(str(schema["$ref"])), **_without(schema, "$ref")}
            elif "allOf" in schema:
                parts, schema = _list(schema["allOf"]), _without(schema, "allOf")
                for part in parts:
                    schema = _merged(schema, self._resolved_part(part))
            else:
                break
        return schema

    def _resolved_part(self, part: Any) -> Schema:
        part = _mapping(part)
        return self._target(str(part["$ref"])) if "$ref" in part else part

    def _target(self, reference: str) -> Schema:
        target: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            target = _mapping(target).get(part, {}) if part else target
        return _mapping(target)

    def _type(self, slot: _Slot) -> str:
        given = slot.schema.get("type", "object" if "properties" in slot.schema else "string")
        named = [given] if isinstance(given, str) else _list(given)
        kinds = [kind for kind in named if isinstance(kind, str) and kind in _TYPES]
        if "null" in kinds and self._spent(slot):
            return "null"
        return next((kind for kind in kinds if kind != "null"), "null")

    def _spent(self, slot: _Slot) -> bool:
        return slot.depth >= MAX_DEPTH or self._left <= 0

    def _choice(self, allowed: Sequence[Any], supply: Supply) -> Any:
        named = supply.named([value for value in allowed if isinstance(value, str)])
        if named is not None:
            return named
        return MISSING if self._strict or not allowed else allowed[0]

    def _branch(self, branches: Sequence[Any], slot: _Slot) -> Any:
        """The first branch that can be filled; null when there is no other, or the walk must end."""
        others = [branch for branch in branches if _mapping(branch).get("type") != "null"]
        nullable = len(others) < len(branches)
        if nullable and self._spent(slot):
            return None
        values = (self.fill(slot.inner(branch)) for branch in others)
        return next((value for value in values if value is not MISSING), None if nullable else MISSING)

    def object(self, slot: _Slot) -> Any:
        required = _list(slot.schema.get("required"))
        filled: dict[str, Any] = {}
        if slot.depth > 2 * MAX_DEPTH:  # nothing valid can come of a schema that requires itself
            return filled
        for key, field in _mapping(slot.schema.get("properties")).items():
            if key not in required and (self._strict or self._spent(slot)):
                continue
            value = self.fill(slot.inner(field, name=key))
            if value is not MISSING:
                filled[key] = value
            elif key in required:
                return MISSING
        return filled

    def array(self, slot: _Slot) -> Any:
        least = min(_whole(slot.schema.get("minItems"), 0), MAX_LEAST)
        most = max(least, min(_whole(slot.schema.get("maxItems"), MAX_ITEMS), MAX_ITEMS))
        fixed = _list(slot.schema.get("prefixItems"))
        parts = [] if self._spent(slot) else slot.supply.parts(slot.name)[:most]
        parts += [slot.supply] * (max(least, len(fixed)) - len(parts))
        items = [*fixed, *[slot.schema.get("items", {})] * (len(parts) - len(fixed))]
        values = [self.fill(slot.inner(item, supply=part)) for item, part in zip(items, parts, strict=True)]
        held = [value for value in values if value is not MISSING]
        return held if held or not self._strict else MISSING

    def string(self, slot: _Slot) -> Any:
        form = str(slot.schema.get("format", ""))
        found = slot.supply.string(slot.name, form, str(slot.schema.get("description", "")))
        if found is None:
            found = slot.supply.quoted() if self._strict else _PLAINEST.get(form, slot.supply.summary)
        if found is None:
            return MISSING
        least = min(_whole(slot.schema.get("minLength"), 0), MAX_CHARS)
        return found[: _whole(slot.schema.get("maxLength"), MAX_CHARS)].ljust(least, ".")

    def number(self, slot: _Slot) -> Any:
        found = slot.supply.number(slot.name)
        if found is None and self._strict:
            found = slot.supply.asked_number()
        if found is None and self._strict:
            return MISSING
        return _bounded(found or 0.0, slot.schema)

    def integer(self, slot: _Slot) -> Any:
        value = self.number(slot)
        return value if value is MISSING else int(value)

    def boolean(self, slot: _Slot) -> Any:
        return MISSING if self._strict else slot.name in CONSENTS

    def null(self, _: _Slot) -> Any:
        return None


_TYPES: Final[Mapping[str, Callable[[_Filler, _Slot], Any]]] = {
    "object": _Filler.object,
    "array": _Filler.array,
    "string": _Filler.string,
    "number": _Filler.number,
    "integer": _Filler.integer,
    "boolean": _Filler.boolean,
    "null": _Filler.null,
}


def _bounded(value: float, schema: Schema) -> float:
    """`value` moved inside the bounds; an exclusive bound is kept at a distance of one, or in the middle."""
    low, high = _bound(schema, "minimum"), _bound(schema, "maximum")
    above, below = _bound(schema, "exclusiveMinimum"), _bound(schema, "exclusiveMaximum")
    if above is not None and value <= above:
        value = above + 1 if below is None or above + 1 < below else (above + below) / 2
    if below is not None and value >= below:
        value = below - 1 if above is None or below - 1 > above else (above + below) / 2
    value = value if low is None else max(value, low)
    return value if high is None else min(value, high)


def _bound(schema: Schema, key: str) -> float | None:
    value = schema.get(key)
    return value if isinstance(value, int | float) else None


def _merged(schema: Schema, part: Schema) -> Schema:
    merged = {**part, **schema}
    for key in ("properties", "$defs"):
        if key in schema or key in part:
            merged[key] = {**_mapping(part.get(key)), **_mapping(schema.get(key))}
    if "required" in schema or "required" in part:
        merged["required"] = [*_list(part.get("required")), *_list(schema.get("required"))]
    return merged


def _without(schema: Schema, key: str) -> Schema:
    return {name: value for name, value in schema.items() if name != key}


def _mapping(value: Any) -> Schema:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _whole(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and value >= 0 else otherwise
