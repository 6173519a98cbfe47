"""Errors as Problem Details (RFC 9457): the fault's sentence for people, its fields for programs."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from crew_moe.domain.complaint import told
from crew_moe.errors import CrewMoEError
from crew_moe.service.openai_api.bodies import error_body
from crew_moe.surface.fault import Fault, fault_of

MEDIA_TYPE: Final = "application/problem+json"
OPENAI: Final = "/v1/"
"""Below this path every error has the shape of OpenAI's."""
TYPE_PREFIX: Final = "urn:crew-moe:problem:"
_CODES: Final[Mapping[int, str]] = {404: "not_found", 405: "method_not_allowed", 415: "unsupported_media_type"}


class Refused(Exception):
    """Ends a request with this fault; `headers` go along."""

    def __init__(self, fault: Fault, headers: Mapping[str, str] | None = None) -> None:
        self.fault = fault
        self.headers = dict(headers or {})
        super().__init__(str(fault))


def problem(fault: Fault, *, instance: str, request_id: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """The answer that tells of a fault, in the shape that clients of this path read. `instance` is the path."""
    retry = {} if fault.retry_after_s is None else {"Retry-After": str(max(1, round(fault.retry_after_s)))}
    more = {**retry, **(headers or {})}
    if instance.startswith(OPENAI):
        return Response(error_body(fault), fault.status, headers=more, media_type="application/json")
    body = {
        "type": f"{TYPE_PREFIX}{fault.code}",
        "title": HTTPStatus(fault.status).phrase,
        "status": fault.status,
        "detail": str(fault),
        "instance": instance,
        "request_id": request_id,
        **fault.as_dict(),
    }
    return Response(to_json(body), fault.status, headers=more, media_type=MEDIA_TYPE)


def problems_of(app: FastAPI) -> None:
    """Teach an app to tell every error as a problem."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(CrewMoEError, _crew_moe)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def answer_to(request: Request, fault: Fault, headers: Mapping[str, str] | None = None) -> Response:
    """The problem as the answer to this request."""
    request_id = str(request.scope.get("request_id", ""))
    return problem(fault, instance=request.url.path, request_id=request_id, headers=headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - the table above says so
    return answer_to(request, error.fault, error.headers)


async def _crew_moe(request: Request, error: Exception) -> Response:
    assert isinstance(error, CrewMoEError)  # noqa: S101 - the table above says so
    return answer_to(request, fault_of(error))


async def _invalid(request: Request, error: Exception) -> Response:
    """What FastAPI found wrong with a parameter, in one sentence and without the value."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - the table above says so
    first: dict[str, Any] = dict(error.errors()[0])
    place = [str(part) for part in first["loc"]]
    what, allowed = told(first)
    fault = Fault(
        code="invalid_request",
        status=422,
        what=what,
        where=".".join(place[1:]) or place[0],
        allowed=allowed,
        next_step="mend the field that is named",
    )
    return answer_to(request, fault)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - the table above says so
    status = error.status_code
    code = _CODES.get(status, "http_error")
    fault = Fault(code=code, status=status, what=HTTPStatus(status).phrase.lower(), next_step="see /openapi.json")
    return answer_to(request, fault, error.headers)
