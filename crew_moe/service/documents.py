"""The OpenAPI document: what FastAPI knows of the routes, and what their plain endpoints and the entrance add to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from copy import deepcopy
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from crew_moe.router import Router
from crew_moe.service.bodies import ADAPTIVE
from crew_moe.service.examples import Examples
from crew_moe.service.problem import MEDIA_TYPE, OPENAI
from crew_moe.services import SERVICE_STRATEGIES
from crew_moe.strategies import STRATEGIES

SCHEMAS: Final = "#/components/schemas/{model}"
PROBLEM: Final = "Problem"
BEARER: Final = "bearer"
_JSON: Final = "application/json"
_EVERYWHERE: Final = (400, 401, 403, 404, 405, 413, 421, 422, 429, 503, 504)
_OPEN: Final = (405, 421)
_PROBLEM: Final = {MEDIA_TYPE: {"schema": {"$ref": SCHEMAS.format(model=PROBLEM)}}}
_OPENAI_ERROR: Final = {
    _JSON: {"schema": {"type": "object", "required": ["error"], "properties": {"error": {"type": "object"}}}}
}
GUARDED: Final = ("/api/", OPENAI, "/metrics", "/process", "/admin/")
_METHODS: Final = frozenset({"get", "post", "put", "patch", "delete"})
_TEXT: Final = {"type": "string"}
_MAYBE_TEXT: Final = {"type": ["string", "null"]}
_PROBLEM_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "description": "Problem Details (RFC 9457), with what is valid and what to do next.",
    "required": ["type", "title", "status", "detail", "instance", "code", "message", "allowed", "request_id"],
    "properties": {
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "instance": _TEXT,
        "request_id": _TEXT,
        "code": _TEXT,
        "message": _TEXT,
        "where": _MAYBE_TEXT,
        "allowed": {"type": "array", "items": _TEXT},
        "closest": _MAYBE_TEXT,
        "next_step": _MAYBE_TEXT,
        "retry_after_s": {"type": ["number", "null"]},
    },
}
_REQUEST_ID: Final = {"X-Request-ID": {"description": "The request's id, as in the logs.", "schema": _TEXT}}


def document(*models: type[BaseModel], examples: Examples, required: bool = True) -> dict[str, Any]:
    """The body of a plain endpoint: any of these models."""
    named = {model.__name__: model.model_json_schema(ref_template=SCHEMAS) for model in models}
    references = [{"$ref": SCHEMAS.format(model=name)} for name in named]
    schema = {"$defs": named, **(references[0] if len(references) == 1 else {"anyOf": references})}
    return {"requestBody": {"required": required, "content": {_JSON: {"schema": schema, "examples": dict(examples)}}}}


def documented(app: FastAPI, router: Router) -> dict[str, Any]:
    """The whole document of an app over a router, whose names stand where a request may name one."""
    told = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    whole = deepcopy(told)  # parts of it are constants, which other apps document too
    components = whole.setdefault("components", {})
    schemas: dict[str, Any] = components.setdefault("schemas", {})
    schemas[PROBLEM] = dict(_PROBLEM_SCHEMA)
    components["securitySchemes"] = {BEARER: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT or API key"}}
    for path, operation in _operations(whole):
        _hoist(operation, schemas)
        _tell_entrance(operation, guarded=path.startswith(GUARDED), openai=path.startswith(OPENAI))
    _name_names(schemas, router)
    _allow_twins(schemas)
    return whole


def _operations(whole: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in whole["paths"].items():
        yield from ((path, operation) for method, operation in item.items() if method in _METHODS)


def _hoist(operation: Mapping[str, Any], schemas: MutableMapping[str, Any]) -> None:
    """Move the definitions inside a body's schemas to where their references point."""
    content = operation.get("requestBody", {}).get("content", {}).get(_JSON, {})
    for name, schema in content.get("schema", {}).pop("$defs", {}).items():
        schemas.update(schema.pop("$defs", {}))
        schemas[name] = schema


def _tell_entrance(operation: dict[str, Any], *, guarded: bool, openai: bool) -> None:
    """What the entrance may answer before, or beside, the endpoint."""
    responses = operation["responses"]
    content = _OPENAI_ERROR if openai else _PROBLEM
    for status in _EVERYWHERE if guarded else _OPEN:
        told = {"description": HTTPStatus(status).phrase, "content": content}
        responses[str(status)] = responses.get(str(status), told) if openai else told
    for answer in responses.values():
        answer["headers"] = {**answer.get("headers", {}), **_REQUEST_ID}
    if guarded:
        operation["security"] = [{BEARER: []}]


def _name_names(schemas: MutableMapping[str, Any], router: Router) -> None:
    """Say which strategies and profiles there are, wherever a body may name one."""
    names = {
        "strategy": sorted(STRATEGIES),
        "routing_strategy": [ADAPTIVE, *sorted(STRATEGIES), *SERVICE_STRATEGIES],
        "profile": sorted(router.policy.profiles),
        "preferred_providers": sorted(router.registry.providers),
    }
    for properties in _properties(schemas):
        for name in names.keys() & properties.keys():
            _restrict(properties[name], names[name])


def _allow_twins(schemas: Mapping[str, Any]) -> None:
    """A set may be written with a word that stands twice: it is taken, so it must not be called wrong."""
    for properties in _properties(schemas):
        for found in properties.values():
            for one in (found, *found.get("anyOf", ())):
                one.pop("uniqueItems", None)


def _properties(part: Any) -> Iterator[dict[str, Any]]:
    """The properties of every object that is described, however deep."""
    if isinstance(part, dict):
        if isinstance(part.get("properties"), dict):
            yield part["properties"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _properties(inner)


def _restrict(found: dict[str, Any], allowed: list[str]) -> None:
    for one in (found, *found.get("anyOf", ())):
        target = one.get("items", one) if one.get("type") == "array" else one
        if target.get("type") == "string":
            target["enum"] = allowed
            if not allowed:
                target["maxLength"] = 0
