"""Factors of one's own in a reward: functions that policy.yaml names, looked up when a router opens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from crew_moe.domain.policy import RewardFactor
from crew_moe.errors import ConfigError
from crew_moe.learning.named import imported, look_in, told
from crew_moe.learning.rewards import Factor

GROUP: Final = "crew_moe.reward_factors"
FILE: Final = "policy.yaml"


def load_factors(named: Sequence[RewardFactor], folder: Path | None = None) -> tuple[Factor, ...]:
    """The functions, in the order of the policy; modules may lie beside policy.yaml, in `folder`.

    Raises ConfigError, which names the entry and the closest match, for what is not to be found or can't be called.
    """
    look_in(folder if named else None)
    return tuple(Factor(one.name, one.weight, _function(one, number)) for number, one in enumerate(named))


def _function(factor: RewardFactor, number: int) -> Callable[..., Any]:
    key = f"learning.factors.{number}"
    if factor.entry_point is not None:
        key, found = f"{key}.entry_point", _installed(factor.entry_point, f"{key}.entry_point")
    else:
        key, found = f"{key}.python", imported(str(factor.python), FILE, f"{key}.python")
    if not callable(found):
        raise ConfigError(f"'{factor.entry_point or factor.python}' is no function", file=FILE, key=key)
    function: Callable[..., Any] = found
    return function


def _installed(name: str, key: str) -> object:
    offered = entry_points(group=GROUP)
    if name not in offered.names:
        what = f"no installed package offers '{name}' ({GROUP})"
        raise ConfigError(what, file=FILE, key=key, value=name, allowed=sorted(offered.names))
    try:
        return offered[name].load()
    except Exception as error:
        raise ConfigError(f"'{name}' can't be loaded: {told(error)}", file=FILE, key=key) from error
