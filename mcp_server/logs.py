"""Libraries of the server that log more than they should: fastmcp and mcp log arguments that do not fit."""

from __future__ import annotations

from typing import Final

from crew_moe.telemetry.libraries import tame

TALKATIVE: Final = ("fastmcp", "mcp", "uvicorn", "uvicorn.access", "uvicorn.error", "httpx", "sse_starlette")


def tame_libraries() -> None:
    """From now on they are heard from warnings on, by name and place alone."""
    tame(TALKATIVE)
