"""Code of one's own that a setting names as `module:object`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from crew_moe.errors import ConfigError


def look_in(folder: Path | None) -> None:
    """Let modules lie in this folder, too; installed ones go first."""
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))


def imported(path: str, file: str, key: str = "", fits: Callable[[object], bool] = callable) -> object:
    """The object. Raises ConfigError at `file` and `key` with the closest match among what `fits` in the module."""
    module_name, _, name = path.partition(":")
    try:
        module = import_module(module_name)
    except Exception as error:
        raise ConfigError(f"the module '{module_name}' can't be imported: {told(error)}", file=file, key=key) from error
    if not hasattr(module, name):
        offered = [one for one, value in vars(module).items() if fits(value) and not one.startswith("_")]
        raise ConfigError(f"'{module_name}' has no '{name}'", file=file, key=key, value=name, allowed=sorted(offered))
    found: object = getattr(module, name)
    return found


def told(error: Exception) -> str:
    """An error in one piece."""
    return f"{type(error).__name__}: {error}"
