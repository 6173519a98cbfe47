"""What may be asked of the local gate: everything that is wrong with a request before any expert sees it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from crew_moe.domain.hosting import HostSpec
from crew_moe.domain.local_work import Asked, LocalRefusal, Trouble
from crew_moe.errors import closest
from crew_moe.local_gate.engine.refusals import unavailable, wrong

SHORTER: Final = ("break the text into smaller parts",)


def complaint_about(asked: Asked, hosts: Mapping[str, HostSpec]) -> LocalRefusal | None:
    """The first thing that is wrong, in words without the text; None where all is well."""
    if asked.expert is not None and asked.expert not in hosts:
        return unknown(asked.expert, hosts)
    if not hosts:
        return unavailable("no expert is hosted here")
    if not isinstance(asked.text, str):
        return wrong(f"the text must be a string, not {type(asked.text).__name__}", expert=asked.expert)
    if asked.timeout_s is not None and not is_time(asked.timeout_s):
        return wrong(f"timeout_s must be a number of seconds above 0, not {asked.timeout_s!r}", expert=asked.expert)
    most = asked.options.get("max_output_tokens")
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
        return wrong("options.max_output_tokens must be a whole number of at least 1", expert=asked.expert)
    return _length(asked, hosts) or _characters(asked)


def is_time(seconds: float) -> bool:
    return math.isfinite(seconds) and seconds > 0


def unknown(expert: str, known: Iterable[str]) -> LocalRefusal:
    allowed = tuple(sorted(known))
    nearest = closest(expert, allowed)
    hint = f"; did you mean '{nearest}'?" if nearest else ""
    return LocalRefusal(
        trouble=Trouble.UNKNOWN_EXPERT, what=f"no hosted expert is called '{expert[:100]}'{hint}", allowed=allowed
    )


def _length(asked: Asked, hosts: Mapping[str, HostSpec]) -> LocalRefusal | None:
    """Told from the length alone, before a long text is looked at."""
    most = max((spec.max_input_chars for name, spec in hosts.items() if asked.expert in (None, name)), default=0)
    if len(asked.text) <= most:
        return None
    what = f"the text has {len(asked.text):,} characters; at most {most:,} are taken"
    return LocalRefusal(trouble=Trouble.INPUT_TOO_LONG, what=what, next_steps=SHORTER, expert=asked.expert)


def _characters(asked: Asked) -> LocalRefusal | None:
    text = asked.text
    if asked.chat is None and (not text or text.isspace()):
        return wrong("the text is empty", expert=asked.expert)
    if (place := text.find("\0")) >= 0:
        return wrong(f"the text holds a NUL character at position {place}", expert=asked.expert)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        what = f"the text holds half a surrogate pair at position {error.start}: it was decoded wrongly"
        return wrong(what, expert=asked.expert)
    return None
