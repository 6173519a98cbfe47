"""The JSON Schema of the `gate:` section, for editors."""

from __future__ import annotations

from typing import Any

from crew_moe.gating.catalogue import CHECKS, Registered
from crew_moe.gating.config import GateEntry
from crew_moe.gating.gate import Check, Metered
from crew_moe.gating.signature import Signature


def gate_schema() -> dict[str, Any]:
    """What the section may hold, with every registered check; it refers to nothing outside of itself."""
    schema = _inlined(GateEntry.model_json_schema())
    named = {name: _check_schema(made) for name, made in sorted(CHECKS.items())}
    entry = {"type": "object", "properties": named, "minProperties": 1, "maxProperties": 1}
    # Checks of installed packages are known by their names only.
    schema["properties"]["checks"]["items"] = {"anyOf": [{"type": "string", "examples": sorted(CHECKS)}, entry]}
    return schema


def _check_schema(made: Registered) -> dict[str, Any]:
    """What may stand behind the name of a check: its arguments by name, or the first of them alone."""
    if isinstance(made, Check | Metered):
        return {"type": "null"}
    signature = Signature.of(made)
    whole = _inlined(signature.model.model_json_schema())
    whole["description"] = (made.__doc__ or "").partition("\n")[0]
    if signature.first is None:
        return whole
    alone = whole["properties"][signature.first]
    return {"anyOf": [whole, alone, alone["items"]] if signature.rest else [whole, alone]}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with every definition in the place where it is used."""
    definitions = schema.pop("$defs", {})

    def inline(node: Any) -> Any:
        if isinstance(node, dict):
            found = definitions.get(str(node.get("$ref", "")).rpartition("/")[2], {})
            return {key: inline(value) for key, value in {**found, **node}.items() if key != "$ref"}
        return [inline(item) for item in node] if isinstance(node, list) else node

    inlined: dict[str, Any] = inline(schema)
    return inlined
