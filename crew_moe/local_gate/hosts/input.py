"""What a host may be given: texts within its limit that are texts, and options by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crew_moe.domain.hosting import HostSpec
from crew_moe.domain.local_work import Made, Trouble, Work
from crew_moe.errors import HostFailed, closest


def complaint_of(spec: HostSpec, text: str) -> HostFailed | None:
    """What is wrong with a text, if anything; its content is not told."""
    if len(text) > spec.max_input_chars:
        return HostFailed(
            Trouble.INPUT_TOO_LONG,
            f"the text has {len(text):,} characters; '{spec.name}' takes up to {spec.max_input_chars:,}",
            next_steps=("break it down into smaller parts", "or raise the expert's `max_input_chars`"),
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return HostFailed(Trouble.INVALID_INPUT, f"the text holds half a character at position {error.start}")
    return None


def each_with(
    spec: HostSpec, works: Sequence[Work], process: Callable[[Sequence[Work]], Sequence[Made | HostFailed]]
) -> list[Made | HostFailed]:
    """An answer for each: what can't be taken is refused in its place, the others are processed together."""
    answers: dict[int, Made | HostFailed] = {}
    for number, work in enumerate(works):
        refused = complaint_of(spec, work.text)
        if refused is not None:
            answers[number] = refused
    fine = [number for number in range(len(works)) if number not in answers]
    if fine:
        answers.update(zip(fine, process([works[number] for number in fine]), strict=True))
    return [answers[number] for number in range(len(works))]


def merged_options(
    spec: HostSpec, given: Mapping[str, Any], allowed: Mapping[str, type | tuple[type, ...]]
) -> dict[str, Any]:
    """The spec's options, the call's own on top. Raises HostFailed for an unknown one, or one of a wrong type."""
    options = {**spec.options, **given}
    for name, value in options.items():
        if name not in allowed:
            near = closest(name, allowed)
            hint = f"; did you mean '{near}'?" if near else ""
            known = ", ".join(sorted(allowed)) or "none"
            raise HostFailed(
                Trouble.INVALID_INPUT, f"'{spec.name}' has no option '{name[:40]}'{hint}; allowed: {known}"
            )
        if not isinstance(value, allowed[name]):
            raise HostFailed(Trouble.INVALID_INPUT, f"the option '{name}' of '{spec.name}' has a wrong type")
    return options
