"""What goes over the wire, as a value, and what each fault makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from crew_moe.sim import bodies
from crew_moe.sim.script import Fault, Rule

DRIP_PIECES: Final = 40
JSON_TYPE: Final = "application/json"
EVENT_TYPE: Final = "text/event-stream; charset=utf-8"


class Ending(StrEnum):
    """What becomes of the connection after the pieces."""

    KEEP = "keep"  # the answer is whole; the connection serves the next request
    CLOSE = "close"  # closed in order, whatever was promised
    RESET = "reset"  # torn down with a TCP reset
    HANG = "hang"  # left open and silent until the client gives up


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Status, headers and pieces of a body, and when they leave.

    Seconds: `delay_s` before the first byte, `gap_s` between pieces. `length` is the promised Content-Length; None
    means chunked. Without `status` nothing is sent.
    """

    status: int | None
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()
    pieces: tuple[bytes, ...] = ()
    length: int | None = None
    delay_s: float = 0.0
    gap_s: float = 0.0
    ending: Ending = Ending.KEEP


def plain(body: bytes, *, status: int = 200, delay_s: float = 0.0) -> Answer:
    """A body in one piece."""
    return Answer(status=status, pieces=(body,), length=len(body), delay_s=delay_s)


def streamed(events: tuple[bytes, ...], *, delay_s: float = 0.0) -> Answer:
    """Server-sent events; half of the delay passes before the first, the rest between them."""
    gap_s = delay_s / 2 / max(1, len(events) - 1)
    return Answer(status=200, content_type=EVENT_TYPE, pieces=events, delay_s=delay_s / 2, gap_s=gap_s)


def reset() -> Answer:
    """No byte of an answer, then a reset."""
    return Answer(status=None, ending=Ending.RESET)


def struck(answer: Answer, rule: Rule) -> Answer:
    """The answer as the rule's error leaves it; the same answer for a rule without error."""
    if rule.error is None:
        return answer
    if isinstance(rule.error, int):
        return replace(
            plain(bodies.error(rule.error), status=rule.error, delay_s=answer.delay_s),
            headers=retry_headers(rule.retry_after_s),
        )
    return _FAULTS[rule.error](answer, rule)


def retry_headers(retry_after_s: float | None) -> tuple[tuple[str, str], ...]:
    """Whole seconds, as HTTP has it, and the exact milliseconds that OpenAI adds."""
    if retry_after_s is None:
        return ()
    return (("retry-after", str(math.ceil(retry_after_s))), ("retry-after-ms", f"{retry_after_s * 1000:g}"))


def _timeout(answer: Answer, _: Rule) -> Answer:
    return replace(answer, status=None, ending=Ending.HANG)


def _reset(answer: Answer, _: Rule) -> Answer:
    return replace(answer, status=None, ending=Ending.RESET)


def _malformed(answer: Answer, _: Rule) -> Answer:
    """Half of the JSON (of the first event), sent as if it were all of it."""
    if answer.length is None:
        return replace(answer, pieces=(_half(answer.pieces[0]).rstrip() + b"\n\n", *answer.pieces[1:]))
    body = _half(b"".join(answer.pieces))
    return replace(answer, pieces=(body,), length=len(body))


def _cut(answer: Answer, _: Rule) -> Answer:
    """Half of what was promised, then the end of the connection."""
    if answer.length is None:
        return replace(answer, pieces=answer.pieces[: (len(answer.pieces) + 1) // 2], ending=Ending.CLOSE)
    return replace(answer, pieces=(_half(b"".join(answer.pieces)),), ending=Ending.CLOSE)


def _drip(answer: Answer, rule: Rule) -> Answer:
    """All of it, in small pieces, each of which resets a client's read timeout."""
    body = b"".join(answer.pieces)
    size = -(-len(body) // DRIP_PIECES) or 1
    pieces = tuple(body[start : start + size] for start in range(0, len(body), size))
    return replace(answer, pieces=pieces, gap_s=rule.drip_ms / 1000)


def _half(body: bytes) -> bytes:
    return body[: len(body) // 2]


_FAULTS: Final[Mapping[Fault, Callable[[Answer, Rule], Answer]]] = {
    "timeout": _timeout,
    "reset": _reset,
    "malformed": _malformed,
    "cut_stream": _cut,
    "slow_drip": _drip,
}
