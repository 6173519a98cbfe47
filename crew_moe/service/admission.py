"""Lets callers in: who it is by its credential, and whether it has asked too often."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.types import Scope

from crew_moe.auth.authenticator import Authenticator
from crew_moe.auth.caller import Caller, Unauthorized
from crew_moe.service.access import CALLER
from crew_moe.service.problem import Refused
from crew_moe.surface.fault import Fault
from crew_moe.surface.rates import Limited, Rates, address_key, caller_key
from crew_moe.telemetry.metrics import Metrics


class Admission:
    """Puts the Caller into a connection's scope, or raises Refused. `failures` counts refused credentials by address,
    so that nobody tries keys for long.
    """

    def __init__(self, authenticator: Authenticator, *, rates: Rates, failures: Rates, metrics: Metrics) -> None:
        self._authenticator = authenticator
        self._metrics = metrics
        self._rates = rates
        self._failures = failures

    async def __call__(self, scope: Scope, headers: Headers) -> Mapping[str, str]:
        """The headers that tell the caller of its rate."""
        address = scope["client"][0] if scope.get("client") else None
        found = await self._authenticator.aauthenticate(headers.get("authorization"), api_key=headers.get("x-api-key"))
        if isinstance(found, Unauthorized):
            raise await self._refused(found, address)
        scope[CALLER] = found
        return await self._counted(found, address)

    async def _counted(self, caller: Caller, address: str | None) -> Mapping[str, str]:
        standing = await self._rates.hit(caller_key(caller, address))
        if isinstance(standing, Limited):
            raise self._limited(standing)
        return standing.headers

    async def _refused(self, found: Unauthorized, address: str | None) -> Refused:
        self._metrics.refused_caller(found.code)
        if found.code != "missing":
            standing = await self._failures.hit(address_key(address))
            if isinstance(standing, Limited):
                return self._limited(standing)
        fault = Fault(
            code=f"credential_{found.code}",
            status=401,
            what=found.message,
            where="authorization",
            next_step="send a valid token or API key",
        )
        reason = "" if found.code == "missing" else ' error="invalid_token"'
        return Refused(fault, {"WWW-Authenticate": f"Bearer{reason}"})

    def _limited(self, standing: Limited) -> Refused:
        self._metrics.limited(standing.name)
        return Refused(_too_many(standing.retry_after_s), standing.headers)

    async def aclose(self) -> None:
        """Give connections back."""
        await self._rates.aclose()
        await self._failures.aclose()


def _too_many(retry_after_s: int) -> Fault:
    return Fault(
        code="rate_limited",
        status=429,
        what=f"too many requests; the window ends in {retry_after_s} s",
        next_step="wait as long as Retry-After says",
        retry_after_s=float(retry_after_s),
    )
