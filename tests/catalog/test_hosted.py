"""What a project hosts stands in its catalogue, whether somebody entered it or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from crew_moe.catalog import load_registry
from crew_moe.domain.expert import Capability, Transport
from crew_moe.errors import ConfigError
from tests.catalog.writing import folder

MINE = {"kind": "python", "class": "mine:Expert", "max_input_chars": 8000, "max_output_tokens": 64}


def test_a_hosted_expert_that_nobody_entered_is_named_only_and_free(tmp_path: Path) -> None:
    mine = load_registry(folder(tmp_path, local={"experts": {"mine": MINE}}))["local/mine"]

    assert (mine.transport, mine.named_only, mine.is_free, mine.is_local) == (Transport.HOSTED, True, True, True)
    assert (mine.provider_model, mine.context_window, mine.max_output_tokens) == ("local/mine", 2000, 64)
    assert mine.quality < load_registry()["local/auto"].quality


def test_an_entry_of_one_s_own_goes_before(tmp_path: Path) -> None:
    whole = {"experts": {"local/byt5": {"quality": 0.8}}}

    registry = load_registry(folder(tmp_path, experts=whole, local={"experts": {"mine": MINE}}))

    assert (registry["local/byt5"].quality, "local/mine" in registry) == (0.8, True)


def test_one_that_was_taken_away_is_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = folder(tmp_path, local={"experts": {"byt5": None}})

    assert not load_registry(config)["local/byt5"].enabled
    assert load_registry(config)["local/auto"].enabled
    monkeypatch.setenv("CREW_MOE_LOCAL_URL", "http://127.0.0.1:8000/v1")
    assert load_registry(config)["local/byt5"].enabled


def test_the_gate_s_own_choice_can_do_what_its_hosts_can(tmp_path: Path) -> None:
    weights = {"experts": {"extractive": None, "longformer": None}}

    auto = load_registry(folder(tmp_path, local=weights))["local/auto"]

    assert (auto.enabled, auto.context_window) == (True, 50_000)
    assert not auto.capabilities & {Capability.TOOLS, Capability.JSON}
    assert load_registry()["local/auto"].capabilities >= {Capability.TOOLS, Capability.JSON}


def test_where_nothing_is_hosted_nobody_chooses(tmp_path: Path) -> None:
    nothing = {"experts": {"extractive": None, "longformer": None, "byt5": None}}

    assert not load_registry(folder(tmp_path, local=nothing))["local/auto"].enabled


def test_a_mistake_in_local_yaml_is_told_when_the_catalogue_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"local\.yaml: experts\.mine\.kind"):
        load_registry(folder(tmp_path, local={"experts": {"mine": {"kind": "pythn"}}}))
