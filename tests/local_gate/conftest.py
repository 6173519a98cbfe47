"""A short text with headings, and chats as CrewAI words them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Messages = list[dict[str, Any]]

REPORT = """# Outage of the checkout

## Summary

The checkout failed for 42 minutes because a release removed the limit of the connection pool. 3,200 customers saw an
error, e.g. during payment.

## Timeline

- 09:02 Release 4.1 is deployed.
- 09:44 The release is rolled back.

## Security findings

The database password stood in plain text in the log. Deploys need no review on weekends.
"""


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Threads change every microsecond, so that what is not atomic shows."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.fixture
def report() -> str:
    return REPORT


@pytest.fixture
def document() -> str:
    """The document of the demonstration crew."""
    path = Path(__file__).resolve().parents[2] / "fixtures" / "documents" / "incident-report.md"
    return path.read_text(encoding="utf-8")


@pytest.fixture
def crew_chat() -> Callable[..., Messages]:
    """A chat as CrewAI 1.15 sends it to an agent without tools."""

    def build(task: str, *, expected: str = "the answer", context: str = "") -> Messages:
        around = f"\n\nThis is the context you're working with:\n{context}" if context else ""
        text = (
            f"\nCurrent Task: {task}\n\nThis is the expected criteria for your final answer: {expected}\n"
            f"you MUST return the actual complete content as the final answer, not a summary.{around}"
            "\n\nProvide your complete response:"
        )
        system = "You are Auditor. You know it all.\nYour personal goal is: find"
        return [{"role": "system", "content": system}, {"role": "user", "content": text}]

    return build
