"""Seed 001's five example flows: the choices that it promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from crew_moe import Decision, Router, RoutingRequest
from tests.router.given import router

FLOWS: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[2] / "fixtures/golden/decisions.yaml").read_text(encoding="utf-8")
)


def holds(on: Router, flow: dict[str, Any]) -> None:
    found = on.decide(RoutingRequest(**flow["request"]))
    assert isinstance(found, Decision)
    assert found.expert_id == flow["expert"]
    assert list(found.group.experts if found.group else ()) == flow.get("group", [])
    assert (found.group.judge if found.group else None) == flow.get("judge")


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow["flow"])
def test_a_flow_chooses_what_the_seed_says(flow: dict[str, Any]) -> None:
    holds(router(), flow)


def test_the_flows_in_a_row_choose_the_same() -> None:
    on = router()

    for flow in (*FLOWS, *reversed(FLOWS)):
        holds(on, flow)


def test_the_flows_in_a_batch_choose_the_same() -> None:
    found = router().decide_batch([RoutingRequest(**flow["request"]) for flow in FLOWS])

    assert found.expert_ids == [flow["expert"] for flow in FLOWS]


def test_there_are_five() -> None:
    assert len(FLOWS) == 5
