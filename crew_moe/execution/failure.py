"""Why a call failed: one exception, and the tables that turn providers' answers into error classes.

OpenAI names its errors by code, Anthropic by type, Google by an upper-case status; through their OpenAI-compatible
endpoints all three arrive as `{"error": {...}}`, and some faults are told in the message alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from crew_moe.domain.meter import Told
from crew_moe.domain.outcome import ErrorClass
from crew_moe.domain.usage import Usage
from crew_moe.execution.detail import scrub, tell
from crew_moe.execution.rate_headers import limits_told, retry_after_ms

_CODES: Final[Mapping[str, ErrorClass]] = {
    "context_length_exceeded": ErrorClass.CONTEXT_OVERFLOW,
    "request_too_large": ErrorClass.CONTEXT_OVERFLOW,
    "content_filter": ErrorClass.REFUSED,
    "content_policy_violation": ErrorClass.REFUSED,
    "model_not_found": ErrorClass.NOT_FOUND,
    "deployment_not_found": ErrorClass.NOT_FOUND,
    "deploymentnotfound": ErrorClass.NOT_FOUND,
    "not_found_error": ErrorClass.NOT_FOUND,
    "not_found": ErrorClass.NOT_FOUND,
    "invalid_api_key": ErrorClass.AUTH,
    "authentication_error": ErrorClass.AUTH,
    "permission_error": ErrorClass.AUTH,
    "unauthenticated": ErrorClass.AUTH,
    "permission_denied": ErrorClass.AUTH,
    "billing_error": ErrorClass.AUTH,
    # Comes as 429, but an empty account does not fill by waiting.
    "insufficient_quota": ErrorClass.AUTH,
    "billing_hard_limit_reached": ErrorClass.AUTH,
    "billing_not_active": ErrorClass.AUTH,
    "rate_limit_exceeded": ErrorClass.RATE_LIMIT,
    "rate_limit_error": ErrorClass.RATE_LIMIT,
    "resource_exhausted": ErrorClass.RATE_LIMIT,
    "timeout_error": ErrorClass.TIMEOUT,
    "deadline_exceeded": ErrorClass.TIMEOUT,
    "overloaded_error": ErrorClass.SERVER,
    "server_error": ErrorClass.SERVER,
    "api_error": ErrorClass.SERVER,
    "internal": ErrorClass.SERVER,
    "unavailable": ErrorClass.SERVER,
}

# Told in words only, under a status that says no more than "bad request"; the first that matches wins.
_PHRASES: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), error)
    for pattern, error in (
        (r"prompt is too long|maximum context length|context window|context limit", ErrorClass.CONTEXT_OVERFLOW),
        (r"(input|prompt) token count.*exceeds|exceeds the maximum number of tokens", ErrorClass.CONTEXT_OVERFLOW),
        (r"content (management )?policy|content filter|safety system|usage policies", ErrorClass.REFUSED),
        (r"(flagged|blocked) .*(safety|policy|harm)|prohibited_content", ErrorClass.REFUSED),
        (r"api[ _]key (not valid|expired|invalid)|invalid api[ _]key", ErrorClass.AUTH),
        (r"credit balance is too low", ErrorClass.AUTH),
        (r"model\b.*\b(not exist|not found|not supported|deprecated|retired|decommissioned)", ErrorClass.NOT_FOUND),
    )
)
_PHRASED_STATUSES: Final = frozenset({400, 413, 422, 500})

_STATUSES: Final[Mapping[int, ErrorClass]] = {
    401: ErrorClass.AUTH,
    402: ErrorClass.AUTH,
    403: ErrorClass.AUTH,
    404: ErrorClass.NOT_FOUND,
    405: ErrorClass.NOT_FOUND,
    408: ErrorClass.TIMEOUT,
    410: ErrorClass.NOT_FOUND,
    413: ErrorClass.CONTEXT_OVERFLOW,
    425: ErrorClass.RATE_LIMIT,
    429: ErrorClass.RATE_LIMIT,
    451: ErrorClass.REFUSED,
    504: ErrorClass.TIMEOUT,
}
# 3xx: nothing lives at this address, and a redirect is not followed, lest it carry the key elsewhere.
_HUNDREDS: Final = {3: ErrorClass.NOT_FOUND, 4: ErrorClass.BAD_REQUEST, 5: ErrorClass.SERVER}

_NAME = re.compile(r"[\w.\-\[\]]{1,64}")


class CallFailed(Exception):
    """One call of one expert failed.

    `sent` tells whether the request may have reached the provider, so that it may cost money; `usage` is what the
    provider said it charges, where it said so, and `limits` what it said of its rate limits. `detail` holds no key and
    no prompt.
    """

    def __init__(
        self,
        error_class: ErrorClass,
        detail: str = "",
        *,
        status: int | None = None,
        retry_after_ms: float | None = None,
        sent: bool = True,
        usage: Usage | None = None,
        limits: tuple[Told, ...] = (),
    ) -> None:
        self.error_class = error_class
        self.detail = detail
        self.status = status
        self.retry_after_ms = retry_after_ms
        self.sent = sent
        self.usage = usage
        self.limits = limits
        super().__init__(f"{error_class}: {detail}" if detail else str(error_class))


def classify(
    status: int, headers: Mapping[str, str], body: bytes, *, now: datetime, private: Iterable[str] = ()
) -> CallFailed:
    """The failure that an answer with an error status tells. Header names in lower case (or a case-blind mapping)."""
    failure = _failure(status, _error_of(_json(body)), private)
    failure.retry_after_ms = retry_after_ms(headers, now)
    failure.limits = limits_told(headers, now)
    return failure


def classify_error(error: object, *, private: Iterable[str] = ()) -> CallFailed:
    """The failure told by an `error` object inside an answer that began with 200 (OpenRouter, a stream cut short)."""
    fields = error if isinstance(error, Mapping) else {"message": str(error)}
    code = fields.get("code")
    status = code if isinstance(code, int) and 300 <= code < 600 else 500
    return _failure(status, fields, private)


def _failure(status: int, error: Mapping[str, Any], private: Iterable[str]) -> CallFailed:
    names = [name for key in ("code", "type", "status") if (name := _name(error.get(key)))]
    message = str(error.get("message") or "")
    told = next(iter(names), "")
    param = _name(error.get("param"))
    parts = [f"HTTP {status}", told, f"parameter {param}" if param else "", tell(message, private)]
    return CallFailed(
        _class_of(status, names, message),
        ": ".join(scrub(part) for part in parts if part),
        status=status,
    )


def _class_of(status: int, names: Iterable[str], message: str) -> ErrorClass:
    for name in names:
        if name.lower() in _CODES:
            return _CODES[name.lower()]
    if status in _PHRASED_STATUSES:
        for pattern, error in _PHRASES:
            if pattern.search(message):
                return error
    return _STATUSES.get(status) or _HUNDREDS.get(status // 100, ErrorClass.MALFORMED)


def _error_of(data: object) -> Mapping[str, Any]:
    """The error object in an error body: under `error`, in a list of one (Google), or the body itself."""
    if isinstance(data, list) and data:
        data = data[0]
    if not isinstance(data, Mapping):
        return {}
    error = data.get("error", data)
    return error if isinstance(error, Mapping) else {"message": error}


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _name(value: object) -> str:
    """A machine-readable name, or nothing: free text is the message's business."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) else ""
