"""Which version of the package runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """The installed version; says so when the package runs from a source tree that was never installed."""
    try:
        return version("crew-moe")
    except PackageNotFoundError:
        return "not installed (runs from its source tree)"
