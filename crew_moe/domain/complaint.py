"""One clear sentence out of a pydantic error: what is wrong, where, and what would be allowed."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

MAX_SHOWN: int = 60


def complaint(error: ValidationError, model: type[BaseModel]) -> tuple[str, str, object, tuple[str, ...]]:
    """(what, where, value to find the closest match for, allowed values) of the first problem in `error`.

    Values are shown shortened, and never for keys that may hold a secret or a prompt.
    """
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"] if not _is_branch(part))
    kind = first["type"]
    if kind == "extra_forbidden":
        name = str(first["loc"][-1])
        return f"unknown field '{name}'", _parent(where), name, tuple(_fields(model, first["loc"]))
    if kind == "missing":
        return f"field '{first['loc'][-1]}' is required", _parent(where), None, ()
    value = first.get("input")
    shown = _shown(where, value)
    if kind in ("enum", "literal_error"):
        expected = str(first.get("ctx", {}).get("expected", ""))
        allowed = tuple(word.strip(" '") for word in expected.replace(" or ", ",").split(",") if word.strip(" '"))
        return f"{shown} is not one of the allowed values", where, value, allowed
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return (f"{message} (given {shown})" if kind != "value_error" else message), where, None, ()


def _fields(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Field names of the model in which the unknown key stands."""
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
    """Whether this step of the path is pydantic's name of a union branch, which no user wrote."""
    return isinstance(part, str) and (part.startswith(("literal[", "function-", "constrained-")) or part in _BRANCHES)


_BRANCHES = frozenset({"Parallel", "bool", "str", "int", "float", "list[str]", "nullable"})


def _parent(where: str) -> str:
    return where.rpartition(".")[0]


def _shown(where: str, value: object) -> str:
    if any(word in where for word in ("key", "token", "secret", "text")) and isinstance(value, str):
        return "a string"
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."
