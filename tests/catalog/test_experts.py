"""experts.yaml: what it may hold, what it inherits, and how its mistakes are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crew_moe.catalog import load_registry
from crew_moe.domain.expert import Transport
from crew_moe.domain.meter import RateLimits
from crew_moe.domain.usage import Usage
from tests.catalog.writing import folder, mistake

NEW = {
    "provider": "openai",
    "provider_model": "m",
    "tier": "fast",
    "quality": 0.5,
    "input_usd_per_mtok": "1",
    "output_usd_per_mtok": "1",
    "context_window": 1000,
    "max_output_tokens": 100,
    "latency_p50_ms": 100,
    "capabilities": ["tools"],
    "source": "a test",
    "checked_on": "2026-01-01",
}


def new(**changes: Any) -> dict[str, Any]:
    return {"experts": {"new": {key: value for key, value in {**NEW, **changes}.items() if value is not None}}}


def test_an_overlay_adds_and_changes_and_leaves_the_rest(tmp_path: Path) -> None:
    over = new()
    over["experts"]["gpt-4o"] = {"enabled": False}

    registry = load_registry(folder(tmp_path, experts=over))

    assert len(registry) == len(load_registry()) + 1
    assert not registry["gpt-4o"].enabled
    assert registry["gpt-4o"].quality == 0.92


def test_what_an_expert_leaves_out_comes_from_its_provider(tmp_path: Path) -> None:
    registry = load_registry(folder(tmp_path, experts=new()))

    assert registry["new"].api_key_env == "OPENAI_API_KEY"
    assert registry["new"].regions == {"us"}
    own = load_registry(folder(tmp_path, experts=new(api_key_env="MY_KEY", regions=["eu"], moderated=False)))["new"]
    assert (own.api_key_env, own.regions, own.moderated) == ("MY_KEY", frozenset({"eu"}), False)


def test_a_provider_of_one_s_own_may_be_any_endpoint(tmp_path: Path) -> None:
    provider = {"providers": {"ours": {"base_url_env": "OUR_URL", "api_key_env": "OUR_KEY", "regions": ["eu"]}}}

    one = load_registry(folder(tmp_path, experts={**provider, **new(provider="ours")}))["new"]

    assert (one.transport, one.base_url, one.base_url_env) == (Transport.OPENAI, None, "OUR_URL")


@pytest.mark.parametrize(
    ("changes", "key", "says"),
    [
        ({"qualty": 0.5}, "experts.new", "unknown field 'qualty'; did you mean 'quality'?"),
        ({"quality": None}, "experts.new", "field 'quality' is required"),
        ({"quality": "good"}, "experts.new.quality", "must be a number"),
        ({"quality": 1.5}, "experts.new.quality", "less than or equal to 1"),
        ({"quality": float("nan")}, "experts.new.quality", "nan"),
        ({"tier": "premum"}, "experts.new.tier", "did you mean 'premium'?"),
        ({"capabilities": ["visoin"]}, "experts.new.capabilities.0", "did you mean 'vision'?"),
        ({"input_usd_per_mtok": "-1"}, "experts.new.input_usd_per_mtok", "is no amount of US$"),
        ({"input_usd_per_mtok": float("nan")}, "experts.new.input_usd_per_mtok", "nan is no amount"),
        ({"context_window": 0}, "experts.new.context_window", "greater than 0"),
        ({"checked_on": "yesterday"}, "experts.new.checked_on", "date"),
        ({"provider": "opnai"}, "experts.new.provider", "did you mean 'openai'?"),
        ({"fallback": "gpt-4o-mni"}, "experts.new.fallback", "did you mean 'gpt-4o-mini'?"),
        ({"fallback": "new"}, "experts.new.fallback", "in a circle: new -> new"),
        ({"provider": "local"}, "experts.new.base_url", "needs a base_url or a base_url_env"),
        ({"base_url": "ftp://user:hunter2@host"}, "experts.new.base_url", "begins with http://"),
        ({"base_url": "http://[::1"}, "experts.new.base_url", "begins with http://"),
        ({"base_url": "http://"}, "experts.new.base_url", "begins with http://"),
        ({"api_key": "sk-hunter2"}, "experts.new", "unknown field 'api_key'; did you mean 'api_key_env'?"),
        ({"api_key_env": "sk-hunter2"}, "experts.new.api_key_env", "is not written as it should be"),
        ({"prices": {"cached_usd_per_mtok": 1}}, "experts.new.prices", "did you mean 'cached_input_usd_per_mtok'?"),
        ({"prices": {"cache_write_usd_per_mtok": -1}}, "experts.new.prices.cache_write_usd_per_mtok", "is no amount"),
        ({"prices": {"long_context": {"above_tokens": 9}}}, "experts.new.prices.long_context", "is required"),
        ({"prices": {"batch_discount": 50}}, "experts.new.prices.batch_discount", "less than or equal to 1"),
        (
            {"prices": {"batch_discount": 0.5, "batch": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1}}},
            "experts.new.prices",
            "a batch has either a discount or prices of its own",
        ),
        ({"limits": {"requests_per_minut": 5}}, "experts.new.limits", "did you mean 'requests_per_minute'?"),
        ({"limits": {"requests_per_minute": 0}}, "experts.new.limits.requests_per_minute", "greater than 0"),
        ({"limits": {"concurrent": 1.5}}, "experts.new.limits.concurrent", "must be a whole number"),
    ],
)
def test_a_mistake_names_file_key_and_what_is_meant(tmp_path: Path, changes: Any, key: str, says: str) -> None:
    error = mistake(folder(tmp_path, experts=new(**changes)))

    assert error.file == str(tmp_path / "experts.yaml")
    assert error.key == key
    assert says in str(error)
    assert "hunter2" not in str(error)


def test_prices_beside_the_main_ones(tmp_path: Path) -> None:
    step = {"above_tokens": 200, "input_usd_per_mtok": "4", "output_usd_per_mtok": "8"}
    told = {"cached_input_usd_per_mtok": "0.1", "long_context": step, "batch_discount": 0.5}

    price = load_registry(folder(tmp_path, experts=new(prices=told)))["new"].price

    assert price.bill_nano(Usage(input_tokens=200, cached_tokens=100)) == 100 * 1_000 + 100 * 100
    assert price.bill_nano(Usage(input_tokens=201, output_tokens=1)) == 201 * 4_000 + 8_000
    assert price.bill_nano(Usage(input_tokens=201, output_tokens=1, batch=True)) == 201 * 2_000 + 4_000


def test_price_of_one_s_own_may_take_the_further_ones_away(tmp_path: Path) -> None:
    over = {"experts": {"gpt-4o": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1", "prices": None}}}

    price = load_registry(folder(tmp_path, experts=over))["gpt-4o"].price

    assert price.bill_nano(Usage(input_tokens=10, cached_tokens=10)) == 10_000


def test_batch_of_one_s_own_prices(tmp_path: Path) -> None:
    batch = {"input_usd_per_mtok": "0.5", "output_usd_per_mtok": "0.5", "cached_input_usd_per_mtok": "0.2"}

    price = load_registry(folder(tmp_path, experts=new(prices={"batch": batch})))["new"].price

    assert price.bill_nano(Usage(input_tokens=10, cached_tokens=5, batch=True)) == 5 * 500 + 5 * 200


def test_rate_limits_come_from_the_expert_and_what_it_leaves_out_from_its_provider(tmp_path: Path) -> None:
    over = new(limits={"requests_per_minute": 10})
    over["providers"] = {"openai": {"limits": {"requests_per_minute": 500, "concurrent": 8}}}

    registry = load_registry(folder(tmp_path, experts=over))

    assert registry["new"].limits == RateLimits(requests_per_minute=10, concurrent=8)
    assert registry["gpt-4o"].limits == RateLimits(requests_per_minute=500, concurrent=8)
    assert not registry["claude-haiku-4-5"].limits.known


def test_fallbacks_that_go_in_a_circle_are_shown(tmp_path: Path) -> None:
    over = {"experts": {"gpt-4o": {"fallback": "gpt-5"}, "gpt-5": {"fallback": "o1"}, "o1": {"fallback": "gpt-4o"}}}

    assert "gpt-5 -> o1 -> gpt-4o -> gpt-5" in str(mistake(folder(tmp_path, experts=over)))


def test_a_chain_of_fallbacks_that_ends_is_fine(tmp_path: Path) -> None:
    over = {"experts": {"gpt-4o": {"fallback": "gpt-5"}, "gpt-5": {"fallback": "o1"}}}

    assert load_registry(folder(tmp_path, experts=over))["gpt-4o"].fallback == "gpt-5"


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    twice = "experts:\n  gpt-4o: {enabled: false}\n  gpt-4o: {enabled: true}\n"

    assert "key 'gpt-4o' stands twice" in str(mistake(folder(tmp_path, experts=twice)))


@pytest.mark.parametrize("content", ["experts: []", "experts: {gpt-4o: 5}", "providers: 7", "expert: {}"])
def test_a_wrong_shape_is_told_by_its_key(tmp_path: Path, content: str) -> None:
    error = mistake(folder(tmp_path, experts=content))

    assert error.file == str(tmp_path / "experts.yaml")
    assert "must be a mapping" in str(error) or "did you mean 'experts'?" in str(error)


def test_a_folder_that_is_not_there_names_its_nearest_neighbour(tmp_path: Path) -> None:
    (tmp_path / "agents_config").mkdir()

    assert "did you mean 'agents_config'?" in str(mistake(tmp_path / "agent_config"))
    assert "no such folder" in str(mistake(tmp_path / "deep" / "agent_config"))


@pytest.mark.parametrize("name", ["a\0b", "a" * 5_000, ""])
def test_a_name_that_no_folder_can_have_is_one_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")

    assert "no such folder" in str(mistake(tmp_path / "file" / name))


def test_a_folder_in_place_of_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "experts.yaml").mkdir()

    assert "is a folder, not a file" in str(mistake(tmp_path))
