"""Which scope each endpoint asks for, said at the endpoint and checked by its route, before anything is read."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute

from crew_moe.auth.caller import AccessScope, Caller
from crew_moe.service.problem import Refused
from crew_moe.surface.fault import Fault

Call = TypeVar("Call", bound=Callable[..., Any])
Answering = Callable[[Request], Coroutine[Any, Any, Response]]

API = "/api/v1"

CALLER = "caller"
"""Where the entrance puts who asks, in the connection's scope."""


def needs(scope: AccessScope, *, plain: bool = False) -> Callable[[Call], Call]:
    """The endpoint asks for this scope. A `plain` one takes the Request and gives the Response, with nothing between:
    it reads its own body, and its documentation stands beside it.
    """

    def marked(endpoint: Call) -> Call:
        endpoint.access_scope = scope  # type: ignore[attr-defined]  # functions carry what is put on them
        endpoint.is_plain = plain  # type: ignore[attr-defined]  # as above
        return endpoint

    return marked


def caller_of(request: Request) -> Caller:
    """Who asks. A request that passed no entrance has nobody, and is not answered."""
    caller: Caller = request.scope[CALLER]
    return caller


class GuardedRoute(APIRoute):
    """A route that lets only callers with its endpoint's scope in. One without a scope does not come into being."""

    def get_route_handler(self) -> Answering:
        endpoint: Any = self.endpoint
        scope: AccessScope = endpoint.access_scope
        answer: Answering = endpoint if endpoint.is_plain else super().get_route_handler()

        async def guarded(request: Request) -> Response:
            check_scope(caller_of(request), scope)
            return await answer(request)

        return guarded


def check_scope(caller: Caller, scope: AccessScope) -> None:
    """Raise Refused where the caller lacks the scope."""
    if not caller.may(scope):
        told = f"this needs the scope {scope}"
        next_step = "use a credential that has it"
        raise Refused(Fault(code="forbidden", status=403, what=told, where="authorization", next_step=next_step))
