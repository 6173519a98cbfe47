"""What the command line says of a Ray cluster, told before Ray is loaded."""

from __future__ import annotations

import sys

import pytest

from crew_moe.domain.hosting import LocalPlan
from crew_moe.errors import InvalidInput, MissingExtra
from crew_moe.local_gate.ray_options import RayOptions, ray_options, spread


@pytest.mark.parametrize("told", ["", "0:1", "2:1", "1:", ":4", "a", "1:4:5", "-1", "1:1001", "²"])
def test_replicas_that_are_none_are_refused(told: str) -> None:
    with pytest.raises(InvalidInput, match="replicas are MIN:MAX") as caught:
        ray_options(None, told)

    assert "--replicas" in str(caught.value)


def test_without_replicas_there_are_one_to_four() -> None:
    assert ray_options("10.0.0.1:6379", None) == RayOptions(address="10.0.0.1:6379", fewest=1, most=4)


def test_where_nothing_is_spread_ray_is_not_loaded() -> None:
    loaded = "ray" in sys.modules
    with spread(LocalPlan(hosts={}), None) as pool:
        assert pool is None

    assert ("ray" in sys.modules) == loaded


def test_without_ray_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "crew_moe.local_gate.ray_serving", raising=False)
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_AUTO_CONNECT", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
        monkeypatch.setenv(name, "0")  # what is set here is forgotten after the test

    with pytest.raises(MissingExtra, match=r"crew-moe\[ray\]"), spread(LocalPlan(hosts={}), RayOptions()):
        pass
