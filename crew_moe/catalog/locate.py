"""Where configuration lies: the user's folder, and the one that ships with the package."""

from __future__ import annotations

import os
from pathlib import Path

from crew_moe.errors import ConfigError


def packaged_config() -> Path:
    """The folder agents_config that ships with the package (in a wheel) or stands beside it (in a checkout)."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "agents_config"
    return inside if inside.is_dir() else package.parent / "agents_config"


def packaged_documents() -> Path:
    """The folder of documents for the demonstration crew."""
    inside = packaged_config() / "documents"
    return inside if inside.is_dir() else packaged_config().parent / "fixtures" / "documents"


def layers(name: str, config: Path | None) -> tuple[Path, ...]:
    """The files called `name` from lowest to highest precedence: the packaged one, then the project's own."""
    packaged = packaged_config() / name
    if config is None:
        return (packaged,)
    if not os.path.isdir(config):  # unlike Path.is_dir it has an answer for every name
        raise ConfigError("no such folder", file=repr(str(config))[1:-1], value=config.name, allowed=_folders(config))
    own = config / name
    if config.resolve() == packaged_config().resolve() or not os.path.lexists(own):
        return (packaged,)
    return (packaged, own)


def _folders(missing: Path) -> tuple[str, ...]:
    """What stands where the folder was looked for."""
    try:
        beside = [item.name for item in missing.parent.iterdir() if item.is_dir() and item.name[0] != "."]
        return tuple(sorted(beside))[:20]
    except (OSError, ValueError):
        return ()
