"""What an SDK's exception means in our error classes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from crew_moe.domain.outcome import ErrorClass
from crew_moe.execution.detail import tell
from crew_moe.execution.failure import CallFailed, classify

_BY_NAME: Final = (
    ("timeout", ErrorClass.TIMEOUT),
    ("connect", ErrorClass.CONNECTION),
    ("contextlength", ErrorClass.CONTEXT_OVERFLOW),
    ("throttl", ErrorClass.RATE_LIMIT),
    ("credential", ErrorClass.AUTH),
    ("import", ErrorClass.REFUSED),
)


def failure_of(error: BaseException, *, private: Iterable[str] = ()) -> CallFailed:
    """The failure that an SDK's exception tells: by its HTTP status if it has one, else by its name."""
    private = tuple(private)
    chain = tuple(_chain(error))
    known = next((link for link in chain if isinstance(link, CallFailed)), None)
    if known is not None:
        return known
    for link in chain:
        status = _status(link)
        if status is not None:
            return classify(status, _headers(link), _body(link), now=datetime.now(UTC), private=private)
    names = " ".join(type(link).__name__.lower() for link in chain)
    kind = next((kind for sign, kind in _BY_NAME if sign in names), ErrorClass.SERVER)
    return CallFailed(kind, tell(str(error), private), sent=kind is not ErrorClass.REFUSED)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _status(error: BaseException) -> int | None:
    found = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    code = found if found is not None else getattr(error, "code", None)
    return code if isinstance(code, int) and 300 <= code < 600 else None


def _headers(error: BaseException) -> Mapping[str, str]:
    headers = getattr(getattr(error, "response", None), "headers", None)
    return {str(name).lower(): str(value) for name, value in headers.items()} if headers is not None else {}


def _body(error: BaseException) -> bytes:
    body: Any = getattr(error, "body", None)
    if isinstance(body, Mapping):
        return json.dumps(body if "error" in body else {"error": body}, default=str).encode()
    return json.dumps({"error": {"message": str(error)}}).encode()
