"""Where configuration lies: the user's folder, and the one that ships with the package."""

from __future__ import annotations

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
    if config is None or config.resolve() == packaged_config().resolve():
        return (packaged,)
    if not config.is_dir():
        raise ConfigError("no such folder", file=str(config), value=config.name, allowed=_folders(config.parent))
    own = config / name
    return (packaged, own) if own.is_file() else (packaged,)


def _folders(parent: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(item.name for item in parent.iterdir() if item.is_dir() and item.name[0] != "."))[:20]
    except OSError:
        return ()
