"""The package's face: lazy names, and a clear word when CrewAI or a price is missing."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

import crew_moe.crew
from crew_moe.catalog import live_prices
from crew_moe.crew import prices
from crew_moe.domain.usage import Usage
from crew_moe.errors import MissingExtra

ROOT = Path(__file__).parents[2]
USAGE = Usage(input_tokens=1_000_000, output_tokens=0)


def test_every_exported_name_is_there() -> None:
    for name in crew_moe.crew.__all__:
        assert getattr(crew_moe.crew, name).__module__.startswith("crew_moe.crew.")
    with pytest.raises(AttributeError, match="no attribute 'detach'"):
        crew_moe.crew.detach  # noqa: B018 - the reading is the test


def test_plans_are_read_without_crewai() -> None:
    code = "import sys, crew_moe.crew as c; c.load_plan(None); c.routing_schema(); print('crewai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_missing_crewai_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_moe.crew, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"pip install 'crew-moe\[crew\]'"):
        crew_moe.crew.__getattr__("attach")


def test_price_of_a_model_that_others_know() -> None:
    assert prices.price_usd(USAGE, "gpt-4o", "openai") == Decimal("2.5")


def test_price_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert prices.price_usd(USAGE, "my-own-tune", None) is None
    monkeypatch.setattr(live_prices, "LIBRARY", "no_such_library")
    assert prices.price_usd(USAGE, "gpt-4o", "openai") is None
