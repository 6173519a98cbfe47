"""JSON Schemas as small as they can be: every client pays for them in its model's context."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from pydantic import BaseModel

Schema = dict[str, Any]
# What no client needs: names made of field names, defaults that leaving a field out means anyway, and bounds that only
# the careless pass, who are told of them then.
_NOISE: Final = frozenset({"title", "description", "default", "minLength", "maxLength", "pattern", "uniqueItems"})
_LEAST: Final = (0, 1)
_MOST: Final = 1_000
_WORDS: Final = 12  # whoever needs a longer list has an error that names it
_NULL: Final[Schema] = {"type": "null"}


def input_schema(model: type[BaseModel], notes: Mapping[str, str], hidden: Collection[str] = ()) -> Schema:
    """What a tool takes, with a note at the fields that need one, without those that few callers use.

    A field that may be null may be left out as well, so that the schema does not speak of null.
    """
    schema = _compact(model.model_json_schema(), drop_null=True)
    shown = {name: part for name, part in schema.get("properties", {}).items() if name not in hidden}
    for name, note in notes.items():
        shown[name]["description"] = note
    return {**schema, "properties": shown}


def output_schema(model: type[BaseModel]) -> Schema:
    """What a tool gives. Every field is always there; the schema says so of its own, not of the rows inside."""
    schema = _compact(model.model_json_schema(mode="serialization"), drop_null=False)
    return {**schema, "properties": {name: _with_free_rows(part) for name, part in schema["properties"].items()}}


def _compact(schema: Schema, *, drop_null: bool) -> Schema:
    definitions = schema.pop("$defs", {})

    def small(node: Any) -> Any:
        if isinstance(node, list):
            return [small(part) for part in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return small(definitions[node["$ref"].rpartition("/")[2]])
        noise = {"type"} if "const" in node else set()
        parts = {name: part for name, part in node.items() if name not in noise and not _is_noise(name, part)}
        if "properties" in parts:
            parts["properties"] = {field: small(inner) for field, inner in parts["properties"].items()}
        rest = {name: small(part) for name, part in parts.items() if name != "properties"}
        return _joined({**parts, **rest}, drop_null=drop_null)

    compact: Schema = small(schema)
    return compact


def _is_noise(name: str, part: Any) -> bool:
    if name in ("minimum", "exclusiveMinimum"):
        return part in _LEAST
    if name in ("maximum", "exclusiveMaximum"):
        return bool(part >= _MOST)
    return name in _NOISE or (name == "enum" and len(part) > _WORDS) or (name == "additionalProperties" and not part)


def _with_free_rows(part: Schema) -> Schema:
    """A list whose rows may be read with nothing `required` of them."""
    items = part.get("items")
    if not isinstance(items, dict) or "required" not in items:
        return part
    return {**part, "items": {name: inner for name, inner in items.items() if name != "required"}}


def _joined(node: Schema, *, drop_null: bool) -> Schema:
    """A choice between types, in one piece where that says the same."""
    choices = node.get("anyOf")
    if choices is None:
        return node
    if drop_null:
        choices = [choice for choice in choices if choice != _NULL]
    rest = {name: part for name, part in node.items() if name != "anyOf"}
    if len(choices) == 1:
        return {**rest, **choices[0]}
    types = [choice.get("type") for choice in choices]
    plain = all(isinstance(name, str) for name in types) and len(set(types)) == len(types)
    if not plain or any(choice.keys() & {"enum", "const"} for choice in choices):
        return {**rest, "anyOf": choices}
    return {**rest, **{name: part for choice in choices for name, part in choice.items()}, "type": types}
