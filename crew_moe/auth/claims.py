"""What a token says, once its signature is known to be good: whether it holds now, and for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crew_moe.auth.caller import ALL_SCOPES, AccessScope, Caller, Unauthorized
from crew_moe.domain.principal import Principal
from crew_moe.domain.request import Name

LEEWAY_S: Final = 30.0  # by how much clocks may differ
Label = Annotated[Name, Field(pattern=r"\S")]
Moment = Annotated[float, Field(allow_inf_nan=False)]
Words = str | list[str]
_EXPIRED: Final = Unauthorized(code="expired", message="the token has expired; get a new one")
_EARLY: Final = Unauthorized(code="invalid", message="the token is not valid yet")
_HOMELESS: Final = Unauthorized(
    code="invalid", message=f"the token names no tenant, and only {AccessScope.ADMIN} may be without one"
)


class Claims(BaseModel):
    """The claims that count. Scopes stand in the first of `scope`, `scp` and `scopes` that is there, as words or as a
    list; those that are not the router's are somebody else's, and left aside.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    sub: Label
    exp: Moment
    nbf: Moment | None = None
    iat: Moment | None = None
    tenant: Label | None = None
    scope: Words | None = None
    scp: Words | None = None
    scopes: Words | None = None
    roles: list[Label] = []
    channel: Label | None = None
    workspace: Label | None = None

    @property
    def granted(self) -> frozenset[AccessScope]:
        """The router's scopes among those given."""
        given = next((one for one in (self.scope, self.scp, self.scopes) if one is not None), "")
        words: Sequence[str] = given.split() if isinstance(given, str) else given
        return frozenset(scope for scope in ALL_SCOPES if scope in words)

    def fault(self, now_s: float) -> Unauthorized | None:
        """Why the token does not hold at this time, in seconds since 1970."""
        if self.exp + LEEWAY_S <= now_s:
            return _EXPIRED
        early = now_s + LEEWAY_S
        if (self.nbf is not None and self.nbf > early) or (self.iat is not None and self.iat > early):
            return _EARLY
        return None


def read_claims(payload: Mapping[str, Any]) -> Claims | Unauthorized:
    """The claims, or which of them is not as it should be; its value is not repeated."""
    try:
        return Claims.model_validate(payload)
    except ValidationError as error:
        name = str(error.errors(include_url=False, include_input=False)[0]["loc"][0])
    trouble = "is not as it should be" if name in payload else "is missing"
    return Unauthorized(code="invalid", message=f"the token's claim '{name}' {trouble}")


def caller_of(claims: Claims) -> Caller | Unauthorized:
    """Who comes with these claims. Without a tenant it is an operator, which only administrators may be."""
    scopes = claims.granted
    if claims.tenant is None and AccessScope.ADMIN not in scopes:
        return _HOMELESS
    principal = Principal(
        subject=claims.sub,
        tenant=claims.tenant,
        roles=frozenset(claims.roles),
        workspace=claims.workspace,
        channel=claims.channel,
    )
    return Caller(principal=principal, scopes=scopes)
