"""One clear sentence out of a pydantic error: what is wrong, where, and what would be allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError

MAX_SHOWN: Final = 60
WORDS: Final = ("enum", "literal_error")
SECRETIVE: Final = ("key", "token", "secret", "text")
# What pydantic calls the branches of a union, and a wrong key; no user wrote these parts of a path.
KEY: Final = "[key]"
BRANCHES: Final = frozenset(
    {"Parallel", "PiiEntry", "ConcernEntry", "bool", "str", "int", "float", "list[str]", "nullable", KEY}
)
BRANCH_MARKS: Final = ("literal[", "str-enum[", "function-", "constrained-")
# What a wrong type should have been, where pydantic speaks of Python's types.
WANTED: Final[Mapping[str, str]] = {
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "frozen_set_type": "must be a list",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode",
    "string_pattern_mismatch": "is not written as it should be",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
}


def complaint(error: ValidationError, model: type[BaseModel]) -> tuple[str, str, object, tuple[str, ...]]:
    """(what, where, value to find the closest match for, allowed values) of the first problem in `error`.

    Values are shown shortened, and never for keys that may hold a secret or a prompt.
    """
    found = [dict(one) for one in error.errors(include_url=False)]
    found.sort(key=lambda one: one["type"] == "missing")  # often no more than what a misspelt name leaves behind
    first, rivals = _most_telling(found)
    where, kind = _place(first), first["type"]
    if kind == "extra_forbidden":
        name = str(first["loc"][-1])
        return f"unknown field '{name}'", _parent(where), name, tuple(_fields(model, first["loc"]))
    if kind == "missing":
        return f"field '{first['loc'][-1]}' is required", _parent(where), None, ()
    value = first.get("input")
    shown = _shown(where, value)
    if kind in WORDS:
        allowed = (*_words(first), *_other_forms(rivals, model))
        return f"{shown} is not one of the allowed values", where, value, allowed
    if kind == "value_error":
        return first["msg"].removeprefix("Value error, "), where, None, ()
    message = WANTED.get(kind) or first["msg"][:1].lower() + first["msg"][1:]
    return f"{message} (given {shown})", where, None, ()


def told(one: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """(what, allowed values) of one problem as pydantic lists it, without the value."""
    kind = one["type"]
    if kind in WORDS:
        return "is not one of the allowed values", _words(one)
    if kind == "missing":
        return "is required", ()
    if kind == "extra_forbidden":
        return "is unknown", ()
    return WANTED.get(kind) or one["msg"][:1].lower() + one["msg"][1:], ()


def _most_telling(found: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], Sequence[dict[str, Any]]]:
    """The complaint to pass on, and those of the other branches of its union.

    A value that may take several forms gets a complaint for each: what went wrong inside one of them tells more than
    that it is none of the others, and a list of words tells more than a type.
    """
    place = _place(found[0])
    same = [one for one in found if f"{_place(one)}.".startswith(f"{place}.")]
    wrong_key = found[0]["loc"][-1:] == (KEY,)
    if wrong_key or not any(_is_branch(part) for one in same for part in one["loc"]):
        return found[0], ()
    first = max(same, key=lambda one: (_place(one).count("."), one["type"] in WORDS))
    return first, [one for one in same if one is not first]


def _place(one: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in one["loc"] if not _is_branch(part))


def _words(one: Mapping[str, Any]) -> tuple[str, ...]:
    expected = str(one.get("ctx", {}).get("expected", ""))
    return tuple(word.strip(" '") for word in expected.replace(" or ", ",").split(",") if word.strip(" '"))


def _other_forms(rivals: Sequence[Mapping[str, Any]], model: type[BaseModel]) -> list[str]:
    """What else the value might be, beside a word."""
    forms = []
    for one in rivals:
        if one["type"].startswith("bool"):
            forms += ["true", "false"]
        elif one["type"].startswith("model"):
            forms.append(f"a mapping with {', '.join(_fields(model, (*one['loc'], '')))}")
    return forms


def _fields(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Field names of the model in which the key at the end of `loc` stands."""
    current: Any = model
    for part in loc[:-1]:
        found = _nested(current, str(part))
        current = found if found is not None else current
    return sorted(field.alias or name for name, field in current.model_fields.items())


def _nested(model: Any, field: str) -> Any:
    """The model inside a field's annotation (also inside a union, a tuple or a mapping), or None."""
    info = model.model_fields.get(field)
    pending = [info.annotation] if info is not None else []
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return annotation
        pending.extend(getattr(annotation, "__args__", ()))
    return None


def _is_branch(part: int | str) -> bool:
    """Whether this step of the path is pydantic's own."""
    return isinstance(part, str) and (part.startswith(BRANCH_MARKS) or part in BRANCHES)


def _parent(where: str) -> str:
    return where.rpartition(".")[0]


def _shown(where: str, value: object) -> str:
    """The value, unless it may hold a secret or a prompt or has parts that may."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple | set | frozenset):
        return "a list"
    if any(word in where for word in SECRETIVE) and isinstance(value, str):
        return "a string"
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."
