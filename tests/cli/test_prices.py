"""`crew-moe registry check-prices`: drift is found, and what can't be compared is said so."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from crew_moe.catalog import live_prices, load_registry
from crew_moe.cli.prices import Comparison, Standing, compare
from crew_moe.domain.expert import Expert
from crew_moe.domain.price import Details, PriceList, Rates, Step, Tariff
from crew_moe.errors import MissingExtra
from tests.cli.conftest import Cli

FREE = Rates(input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(0))


@pytest.fixture(scope="module")
def expert() -> Expert:
    return load_registry()["gpt-4o"]


def _compared(expert: Expert, **change: object) -> Comparison:
    (row,) = compare([replace(expert, **change)])  # type: ignore[arg-type]
    return row


def test_price_that_holds_is_the_same(expert: Expert) -> None:
    row = _compared(expert)

    assert (row.standing, row.ratio) == (Standing.SAME, Decimal(1))


def test_other_price_is_drift_with_its_ratio(expert: Expert) -> None:
    price = expert.input_usd_per_mtok
    row = _compared(expert, input_usd_per_mtok=price * 2, output_usd_per_mtok=expert.output_usd_per_mtok * 2)

    assert (row.standing, row.ratio) == (Standing.DRIFT, Decimal("0.5"))


@pytest.mark.parametrize(
    ("prices", "differing"),
    [
        (PriceList(), ()),
        (PriceList(details=Details(cached_input_usd_per_mtok=Decimal("1.25"))), ()),
        (PriceList(details=Details(cached_input_usd_per_mtok=Decimal("2"))), ("cached_input_usd_per_mtok",)),
        (PriceList(long_context=(Step(above_tokens=9, rates=FREE),)), ("above 9.input_usd_per_mtok",)),
        (PriceList(batch=Tariff(rates=FREE)), ("batch.input_usd_per_mtok", "batch.output_usd_per_mtok")),
    ],
)
def test_drift_of_further_prices_is_named(expert: Expert, prices: PriceList, differing: tuple[str, ...]) -> None:
    row = _compared(expert, prices=prices)

    assert row.differing[: len(differing)] == differing
    assert row.standing is (Standing.DRIFT if differing else Standing.SAME)


def test_price_of_zero_has_no_ratio(expert: Expert) -> None:
    row = _compared(expert, input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(0))

    assert (row.standing, row.ratio) == (Standing.DRIFT, None)


@pytest.mark.parametrize(
    ("change", "standing"),
    [({"provider_model": "no-such-model-1"}, Standing.UNKNOWN), ({"provider": "local"}, Standing.SELF_HOSTED)],
)
def test_what_can_not_be_compared_is_said_so(expert: Expert, change: dict[str, object], standing: Standing) -> None:
    row = _compared(expert, **change)

    assert (row.standing, row.known) == (standing, None)


def test_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch, expert: Expert) -> None:
    monkeypatch.setattr(live_prices, "LIBRARY", "no_such_library")

    with pytest.raises(MissingExtra, match=r"crew-moe\[prices\]"):
        compare([expert])


def test_table_marks_retired_and_drifted(cli: Cli) -> None:
    done = cli("registry", "check-prices")

    assert done.code == 0, done.err
    assert "same, retired" in done.out
    assert "prices differ" in done.out


def test_strict_check_exits_1_on_drift(cli: Cli) -> None:
    rows = cli("registry", "check-prices", "--json").json

    assert {row["standing"] for row in rows} == {"same", "drift", "unknown", "self-hosted"}
    assert cli("registry", "check-prices", "--strict").code == 1


def test_strict_check_passes_when_prices_hold(cli: Cli, crew_dir: Path) -> None:
    drifted = [row for row in cli("registry", "check-prices", "--json").json if row["standing"] == "drift"]
    lines = [
        f"  {row['expert_id']}: {{input_usd_per_mtok: '{row['known_input_usd_per_mtok']}', "
        f"output_usd_per_mtok: '{row['known_output_usd_per_mtok']}'}}"
        for row in drifted
    ]
    (crew_dir / "experts.yaml").write_text("\n".join(["experts:", *lines]), encoding="utf-8")

    done = cli("registry", "check-prices", "--strict", "--config", crew_dir)

    assert done.code == 0
    assert "No price differs." in done.out
