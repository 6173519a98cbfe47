"""Who calls over HTTP, as fastmcp asks it: the same check as every other surface, behind its token verifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastmcp.server.auth import AccessToken, TokenVerifier
from fastmcp.server.dependencies import get_access_token

from crew_moe.auth.authenticator import Authenticator
from crew_moe.auth.caller import LOCAL, Caller

_CALLER: Final = "crew_moe.caller"


class Verifier(TokenVerifier):
    """Lets in whom the authenticator lets in; the caller travels with the access token."""

    def __init__(self, authenticator: Authenticator) -> None:
        super().__init__()
        self._authenticator = authenticator

    async def verify_token(self, token: str) -> AccessToken | None:
        caller = await self._authenticator.aauthenticate_credential(token)
        if not isinstance(caller, Caller):
            return None
        return AccessToken(
            token="",
            client_id=caller.subject,
            scopes=sorted(caller.scopes),
            claims={_CALLER: caller},
        )


def current_caller() -> Caller:
    """Who makes the present request; LOCAL where nobody has to say who they are."""
    return _caller(get_access_token())


def caller_in(scope: Mapping[str, Any]) -> Caller:
    """As `current_caller`, for a request that fastmcp has not taken up yet."""
    return _caller(getattr(scope.get("user"), "access_token", None))


def _caller(token: Any) -> Caller:
    """The caller that the verifier put there. A token that somebody else accepted stands for nobody: KeyError."""
    if token is None:
        return LOCAL
    caller: Caller = token.claims[_CALLER]
    return caller
