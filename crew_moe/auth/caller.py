"""Who asks, and what for: an authenticated caller with scopes, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from crew_moe.domain.principal import Principal
from crew_moe.domain.word import Word


class AccessScope(Word):
    """What a caller may do. None of them includes another."""

    READ = "router:read"
    REPORT = "router:report"
    EXECUTE = "router:execute"
    ADMIN = "router:admin"


ALL_SCOPES: Final = frozenset(AccessScope)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An authenticated caller. Without a tenant it is an operator, who sees and does things for all of them; only a
    credential with `router:admin` may be without one.
    """

    principal: Principal
    scopes: frozenset[AccessScope]

    @property
    def tenant(self) -> str | None:
        return self.principal.tenant

    @property
    def subject(self) -> str:
        return self.principal.subject

    @property
    def acting(self) -> Principal | None:
        """Who acts, as the router takes it; None where nobody was authenticated: a request's own words stand."""
        return None if self is LOCAL else self.principal

    def may(self, scope: AccessScope) -> bool:
        return scope in self.scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class Unauthorized:
    """Why nobody is let in: `missing` when no credential came, else `invalid`, in words that name no secret."""

    code: Literal["missing", "invalid", "expired"]
    message: str


LOCAL: Final = Caller(principal=Principal(subject="local"), scopes=ALL_SCOPES)
"""Whoever sits at this machine, where no authentication is set up: only loopback is served then."""
