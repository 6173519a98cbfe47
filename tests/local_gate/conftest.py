"""A short text with headings, chats as CrewAI words them, and a local gate over one small host."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from crew_moe.local_gate.serving import LocalGate
from tests.local_gate.engine_hosts import Upper, opened

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


@pytest.fixture
def upper() -> Upper:
    return Upper()


@pytest.fixture
async def local(upper: Upper) -> AsyncIterator[LocalGate]:
    """A local gate over `upper` alone."""
    gate = opened(upper)
    yield gate
    await gate.aclose()


@pytest.fixture(scope="session")
def byt5_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny ByT5 as `crew-moe local train-demo` leaves it, after too few steps to know anything."""
    return _tiny_demo("byt5", tmp_path_factory)


@pytest.fixture(scope="session")
def longformer_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `byt5_demo`, of the tiny LED."""
    return _tiny_demo("longformer", tmp_path_factory)


def _tiny_demo(kind: Literal["byt5", "longformer"], factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("transformers", reason="transformers is not installed")
    from crew_moe.local_gate.demo.train import train_tiny

    folder = factory.mktemp("models") / f"{kind}-demo"
    train_tiny(kind, folder)
    return folder
