from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crew_moe.domain.meter import RateLimits
from crew_moe.domain.registry import Registry
from crew_moe.errors import ConfigError
from crew_moe.sim.script import DEFAULT_SPEED, Rule, Script, load_script, subjects

SCRIPTS = Path(__file__).resolve().parents[2] / "fixtures"


@pytest.mark.parametrize("name", ["outage", "degraded", "storm"])
def test_shipped_script_loads(registry: Registry, name: str) -> None:
    script = load_script(SCRIPTS / f"{name}.yaml", registry)

    assert script.rules
    assert script.speed == DEFAULT_SPEED


def test_every_fault_is_in_the_storm(registry: Registry) -> None:
    storm = load_script(SCRIPTS / "storm.yaml", registry)

    assert {rule.error for rule in storm.rules} >= {429, 500, 503, 401, 404, "timeout", "reset", "malformed"}


@pytest.mark.parametrize(("number", "strikes"), [(1, False), (2, True), (3, True), (4, False)])
def test_rule_strikes_from_call_to_call_inclusive(number: int, strikes: bool) -> None:
    rule = Rule(expert="o1", error=500, from_call=2, to_call=3)

    assert rule.fits({"expert:o1": number}, 0.0) is strikes


@pytest.mark.parametrize(("elapsed_s", "strikes"), [(9.9, False), (10.0, True), (19.9, True), (20.0, False)])
def test_time_window_excludes_its_end(elapsed_s: float, strikes: bool) -> None:
    rule = Rule(error=500, after_s=10, until_s=20)

    assert rule.fits({"all": 1}, elapsed_s) is strikes


def test_rule_strikes_only_its_subject(registry: Registry) -> None:
    rule = Rule(provider="openai", error=500)

    assert rule.fits(dict.fromkeys(subjects(registry["gpt-4o"]), 1), 0.0)
    assert not rule.fits(dict.fromkeys(subjects(registry["o1"]), 1) | {"provider:openai": 0}, 0.0)
    assert not rule.fits(dict.fromkeys(subjects(registry["claude-opus-4"]), 1), 0.0)


def test_first_rule_that_fits_decides() -> None:
    script = Script(rules=(Rule(error=429, to_call=1), Rule(error=500)))

    assert [getattr(script.rule_for({"all": number}, 0.0), "error", None) for number in (1, 2)] == [429, 500]


def test_speed_scales_the_experts_latency_but_not_the_scripts(registry: Registry) -> None:
    script = Script(speed=0.5)
    expert = registry["claude-opus-4"]

    assert script.delay_s(expert, None) == expert.latency_p50_ms * 0.5 / 1000
    assert script.delay_s(expert, Rule(latency_ms=40)) == 0.04


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"rules": [{"expert": "claude-opus"}]}, r"rules\.0\.expert.*did you mean 'claude-opus-4'"),
        ({"rules": [{"provider": "antropic"}]}, r"rules\.0\.provider.*did you mean 'anthropic'"),
        ({"rules": [{"error": 418}]}, r"rules\.0\.error.*allowed: 429, 500"),
        ({"rules": [{"error": "time out"}]}, r"did you mean 'timeout'"),
        ({"rules": [{"eror": 500}]}, r"unknown field 'eror'.*did you mean 'error'"),
        ({"speed": -1}, r"speed.*greater than or equal to 0"),
        ({"speed": float("nan")}, r"speed"),
        ({"rules": [{"expert": "o1", "provider": "openai"}]}, r"an expert or a provider, not both"),
        ({"rules": [{"from_call": 3, "to_call": 2}]}, r"to_call lies before from_call"),
        ({"rules": [{"after_s": 3, "until_s": 3}]}, r"until_s must lie after after_s"),
    ],
)
def test_wrong_script_is_told_what_is_wrong(registry: Registry, values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=f"^script: .*{complaint}"):
        load_script(values, registry)


def test_wrong_file_is_named(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("rules:\n  - expert: gpt-5o\n")

    with pytest.raises(ConfigError, match=r"bad\.yaml: rules\.0\.expert: unknown expert 'gpt-5o'"):
        load_script(path, registry)
    with pytest.raises(ConfigError, match=r"outages\.yaml: no such file; did you mean 'outage\.yaml'"):
        load_script(SCRIPTS / "outages.yaml", registry)


def test_limits_are_read_by_expert(registry: Registry) -> None:
    script = load_script({"limits": {"gpt-4o": {"requests_per_minute": 60, "concurrent": 4}}}, registry)

    assert script.rate_limits() == {"gpt-4o": RateLimits(requests_per_minute=60, concurrent=4)}


@pytest.mark.parametrize(
    ("limits", "key", "says"),
    [
        ({"gpt-4": {}}, "limits.gpt-4", "did you mean 'gpt-4o'?"),
        ({"gpt-4o": {"request_per_minute": 5}}, "limits.gpt-4o", "did you mean 'requests_per_minute'?"),
        ({"gpt-4o": {"concurrent": 0}}, "limits.gpt-4o.concurrent", "greater than or equal to 1"),
    ],
)
def test_wrong_limits_are_told(registry: Registry, limits: dict[str, Any], key: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_script({"limits": limits}, registry)

    assert caught.value.key == key
    assert says in str(caught.value)
