"""The checks by name, as configurations use them: the package's own, a program's, and those of installed packages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from crew_moe.errors import InvalidInput
from crew_moe.gating import checks
from crew_moe.gating.gate import Check, Metered

ENTRY_POINTS: Final = "crew_moe.checks"

Maker = Callable[..., Check | Metered]
Registered = Maker | Check | Metered
R = TypeVar("R", bound=Registered)

CHECKS: Final[dict[str, Registered]] = {
    "budget_left": checks.budget_left,
    "cooldown": checks.cooldown,
    "guild_only": checks.guild_only,
    "has_any_role": checks.has_any_role,
    "has_role": checks.has_role,
    "in_channel": checks.in_channel,
    "in_workspace": checks.in_workspace,
    "max_concurrency": checks.max_concurrency,
    "max_cost": checks.max_cost,
    "needs_approval": checks.needs_approval,
    "quiet_hours": checks.quiet_hours,
    "screened": checks.screened,
}
"""Makers of checks, whose annotated parameters are what YAML may say, or ready checks that take no argument."""


def register(made: R) -> R:
    """Let configurations use a maker of checks by the name of its function, or a ready check by its own; a decorator.

    Raises InvalidInput for a name that is taken: nobody replaces a check by the way.

    >>> from crew_moe.gating.checks import check
    >>> @register
    ... def office_only(city: str) -> Check:
    ...     return check(lambda context: context.workspace == city, name="office_only")
    >>> _ = CHECKS.pop("office_only")
    """
    name = made.name if isinstance(made, Check | Metered) else getattr(made, "__name__", "")
    if not name or name in CHECKS:
        raise InvalidInput(f"a check called '{name}' exists" if name else "a check needs a name", where="register")
    CHECKS[name] = made
    return made


def find(name: str) -> Registered:
    """The check or maker of this name. Raises InvalidInput with the closest match.

    Installed packages are looked through only for names that are not registered, so theirs replace nothing.
    """
    known = CHECKS.get(name)
    return known if known is not None else _installed(name)


def _installed(name: str) -> Registered:
    from importlib.metadata import entry_points

    found = entry_points(group=ENTRY_POINTS)
    named = [point for point in found if point.name == name]
    if not named:
        known = sorted({*CHECKS, *(point.name for point in found)})
        raise InvalidInput(f"unknown check '{name[:60]}'", value=name, allowed=known)
    if len(named) > 1:
        raise InvalidInput(f"several packages bring a check called '{name}': {_values(named)}")
    try:
        loaded: Any = named[0].load()
    except Exception as error:  # noqa: BLE001 - another package's code: whatever it raises becomes one clear error
        problem = type(error).__name__
    else:
        if callable(loaded) or isinstance(loaded, Metered):
            made: Registered = loaded
            return made
        problem = f"it is a {type(loaded).__name__}"
    raise InvalidInput(f"the check '{name}' of {_values(named)} can't be used: {problem}")


def _values(points: Iterable[Any]) -> str:
    return ", ".join(sorted(str(point.value) for point in points))
