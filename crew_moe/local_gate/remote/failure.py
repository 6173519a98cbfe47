"""What a server's refusal means for the one who asked: its status, and words that servers are known to use."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

from crew_moe.domain.local_work import Trouble
from crew_moe.errors import HostFailed

_STATUSES: Final[Mapping[int, Trouble]] = {
    400: Trouble.INVALID_INPUT,
    401: Trouble.UNAVAILABLE,
    403: Trouble.UNAVAILABLE,
    408: Trouble.TIMEOUT,
    413: Trouble.INPUT_TOO_LONG,
    422: Trouble.INVALID_INPUT,
    424: Trouble.MODEL_FAILED,
    429: Trouble.OVERLOADED,
    501: Trouble.NOT_CAPABLE,
    503: Trouble.OVERLOADED,
    504: Trouble.TIMEOUT,
}

# Told in words alone, under statuses that say no more than "no"; the first that matches wins.
_PHRASES: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), trouble)
    for pattern, trouble in (
        (rb"not support.{0,40}embedding|embeddings?.{0,40}not (supported|enabled)", Trouble.NOT_CAPABLE),
        (rb"exceed_context_size|context[ _](length|size|window|limit)", Trouble.INPUT_TOO_LONG),
        (rb"input is too (large|long)|(prompt|input) is longer than|`max_new_tokens` must be", Trouble.INPUT_TOO_LONG),
        (rb"out of memory", Trouble.OUT_OF_MEMORY),
    )
)
_PHRASED: Final = frozenset({400, 422, 500})
_READ_BYTES: Final = 4096

_SAID: Final[Mapping[Trouble, str]] = {
    Trouble.INVALID_INPUT: "did not take the request",
    Trouble.INPUT_TOO_LONG: "can't take that much text at once",
    Trouble.NOT_CAPABLE: "can't do that",
    Trouble.OUT_OF_MEMORY: "ran out of memory",
    Trouble.MODEL_FAILED: "broke off: its model failed",
    Trouble.OVERLOADED: "has too much to do",
    Trouble.TIMEOUT: "took too long",
}
_STEPS: Final[Mapping[Trouble, str]] = {
    Trouble.INVALID_INPUT: "compare `options` with what this server takes",
    Trouble.INPUT_TOO_LONG: "send less text, or fewer max_output_tokens",
    Trouble.OVERLOADED: "try again later, or start more of these servers",
}


def refused(
    status: int, headers: Mapping[str, str], body: bytes, *, at: str, key_env: str | None, absent: Trouble
) -> HostFailed:
    """The failure of an answer with this status; the body is searched, and never quoted: servers echo prompts.

    `absent` is what a 404 means: where a model was asked it is the model that is not there.
    """
    if status in (401, 403):
        return _locked_out(status, at, key_env)
    trouble = _trouble(status, body) if status != 404 else absent
    said = _SAID.get(trouble, "failed" if status >= 500 else "has nothing at this address")
    return HostFailed(
        trouble,
        f"the server at {at} {said} (HTTP {status})",
        next_steps=tuple(step for step in (_STEPS.get(trouble),) if step),
        retry_after_s=_seconds(headers.get("retry-after")),
    )


def _trouble(status: int, body: bytes) -> Trouble:
    if status in _PHRASED:
        for pattern, trouble in _PHRASES:
            if pattern.search(body[:_READ_BYTES]):
                return trouble
    return _STATUSES.get(status, Trouble.INVALID_INPUT if 400 <= status < 500 else Trouble.UNAVAILABLE)


def _locked_out(status: int, at: str, key_env: str | None) -> HostFailed:
    if key_env is None:
        what, step = "wants a key", "name the environment variable of its key under `api_key_env`"
    else:
        what, step = f"refused the key in {key_env}", f"set {key_env} to the key that the server was started with"
    return HostFailed(Trouble.UNAVAILABLE, f"the server at {at} {what} (HTTP {status})", next_steps=(step,))


def _seconds(told: str | None) -> float | None:
    """A Retry-After in seconds; its other form, a date, is not what these servers send."""
    try:
        seconds = float(told or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
