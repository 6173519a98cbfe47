"""The names of scopes: as calls pay into them, and as people write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, unquote

from crew_moe.domain.budget import ScopeKind, scope_kind
from crew_moe.domain.digest import digest
from crew_moe.errors import InvalidInput

MAX_NAME_CHARS: Final = 80
ALL: Final = "*"
_PATTERNS: Final = frozenset(f"{kind}:{ALL}" for kind in ScopeKind)
_SAFE: Final = "@.-_+:"
_PLAIN: Final = re.compile(rf"(?:[A-Za-z0-9~{re.escape(_SAFE)}]|%[0-9A-F]{{2}}){{1,{MAX_NAME_CHARS}}}")


def scope_of(kind: ScopeKind, name: str, tenant: str | None) -> str:
    """The scope of a name, with its tenant in front, so that two tenants never share one."""
    parts = [name] if tenant is None or kind is ScopeKind.TENANT else [tenant, name]
    return f"{kind}:{'/'.join(map(_plain, parts))}"


def written_scope(scope: object, *, where: str = "scope") -> str:
    """The scope that calls pay into, of one as a person writes it. Raises InvalidInput, also for a pattern.

    A limit under any other name would hold for nobody. What was copied from a ledger stays as it is.

    >>> written_scope("project:Acme Ltd/web")
    'project:Acme%20Ltd/web'
    """
    kind = scope_kind(scope, where=where)
    name = str(scope).partition(":")[2]
    if ALL in name:
        told = f"'{scope}' is no single scope; a limit for all of a kind stands in policy.yaml"
        raise InvalidInput(told, where=where, allowed=(f"{kind}:name",))
    parts = [name] if kind is ScopeKind.TENANT else name.split("/", 1)
    return f"{kind}:{'/'.join(part if _PLAIN.fullmatch(part) else _plain(part) for part in parts)}"


def written_pattern(scope: str, *, where: str = "scope") -> str:
    """As `written_scope`; `kind:*`, which means all of a kind, is allowed too."""
    return scope if scope in _PATTERNS else written_scope(scope, where=where)


def tenant_of(scopes: Sequence[str]) -> str | None:
    """The tenant in whose name these scopes of one payer stand; None where there is none.

    >>> tenant_of(("tenant:Acme%20Ltd", "project:Acme%20Ltd/web")), tenant_of(("run:1",))
    ('Acme Ltd', None)
    """
    for scope in scopes:
        kind, _, name = scope.partition(":")
        own, slash, _ = name.partition("/")
        if kind == ScopeKind.TENANT or slash:
            return unquote(own, errors="surrogatepass")
    return None


def _plain(name: str) -> str:
    """The name without signs that mean something in a scope; a long one by its digest."""
    if name.isascii() and name.isalnum():
        return name if len(name) <= MAX_NAME_CHARS else digest(name).hex()
    plain = quote(name, safe=_SAFE, errors="surrogatepass")
    return plain if len(plain) <= MAX_NAME_CHARS else digest(name).hex()
