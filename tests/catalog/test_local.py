"""local.yaml: what the gate hosts, how layers lie over each other, and how mistakes are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crew_moe.catalog.local import load_local
from crew_moe.domain.hosting import HostKind, Quantisation
from crew_moe.errors import ConfigError
from tests.catalog.writing import folder

REMOTE = {"kind": "vllm", "base_url": "http://127.0.0.1:8001", "model": "m"}


def local(path: Path, document: Any) -> Path:
    return folder(path, local=document)


def mistake(path: Path, document: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_local(local(path, document))
    return caught.value


def test_the_packaged_file_hosts_the_three_and_sends_nothing_elsewhere(tmp_path: Path) -> None:
    plan = load_local(models=tmp_path)

    assert {name: host.kind.value for name, host in plan.hosts.items()} == {
        "extractive": "extractive",
        "byt5": "byt5",
        "longformer": "longformer",
    }
    assert plan.hosts["byt5"].path == tmp_path / "byt5-demo"
    assert plan.fallback is None
    assert plan.timeout_s == 30


def test_a_project_s_file_adds_changes_and_takes_away(tmp_path: Path) -> None:
    over = {"experts": {"big": REMOTE, "byt5": {"warm": True}, "longformer": None}, "batch": {"max_size": 2}}

    plan = load_local(local(tmp_path, over))

    assert set(plan.hosts) == {"extractive", "byt5", "big"}
    assert (plan.hosts["byt5"].warm, plan.hosts["byt5"].kind) == (True, HostKind.BYT5)
    assert (plan.hosts["big"].base_url, plan.hosts["big"].model) == ("http://127.0.0.1:8001", "m")
    assert (plan.batch.max_size, plan.batch.queue) == (2, 256)


def test_an_expert_whose_kind_is_said_again_keeps_nothing_from_below(tmp_path: Path) -> None:
    hub = {"kind": "byt5", "hub": "google/byt5-small", "quantisation": "int8"}

    plan = load_local(local(tmp_path, {"experts": {"byt5": hub, "longformer": REMOTE}}))

    assert (plan.hosts["byt5"].path, plan.hosts["byt5"].hub) == (None, "google/byt5-small")
    assert plan.hosts["byt5"].quantisation is Quantisation.INT8
    assert plan.hosts["longformer"].kind is HostKind.VLLM


def test_a_relative_path_is_looked_for_beside_its_file_then_among_the_models(tmp_path: Path) -> None:
    project, models = tmp_path / "project", tmp_path / "models"
    (project / "mine").mkdir(parents=True)
    over = {"experts": {name: {"kind": "byt5", "path": name} for name in ("mine", "other")}, "gate": {"model": "g"}}

    plan = load_local(local(project, over), models=models)

    assert plan.hosts["mine"].path == project / "mine"
    assert plan.hosts["other"].path == models / "other"
    assert plan.gate.model == models / "g"


def test_the_folder_of_models_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREW_MOE_MODELS", str(tmp_path))

    assert load_local().hosts["longformer"].path == tmp_path / "longformer-demo"


def test_examples_stand_in_the_file_or_in_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("- second\n- third\n")
    expert = {"kind": "python", "class": "mine:Expert", "examples": ["first"], "examples_file": "more.yaml"}

    host = load_local(local(tmp_path, {"experts": {"own": expert}})).hosts["own"]

    assert host.examples == ("first", "second", "third")
    assert host.class_path == "mine:Expert"


@pytest.mark.parametrize(
    ("entry", "key", "says"),
    [
        ({"kind": "byt6", "path": "x"}, "experts.new.kind", "did you mean 'byt5'?"),
        ({"path": "x"}, "experts.new", "field 'kind' is required"),
        ({"kind": "byt5", "pth": "x"}, "experts.new", "unknown field 'pth'; did you mean 'path'?"),
        ({"kind": "byt5"}, "experts.new", "needs either a path or a hub id of its weights; allowed: path, hub"),
        ({"kind": "byt5", "path": "x", "hub": "y"}, "experts.new", "needs either a path or a hub id"),
        ({"kind": "byt5", "path": "x", "revision": "y"}, "experts.new.revision", "only weights of the hub have one"),
        ({"kind": "byt5", "path": "x", "base_url": "y"}, "experts.new.base_url", "does not belong to an expert of"),
        ({"kind": "extractive", "path": "x"}, "experts.new.path", "does not belong to an expert of kind 'extractive'"),
        ({**REMOTE, "class": "a:B"}, "experts.new.class", "kind 'vllm'"),
        ({**REMOTE, "device": "cpu"}, "experts.new.device", "does not belong to an expert of kind 'vllm'"),
        ({**REMOTE, "model": None}, "experts.new", "an expert of kind 'vllm' needs 'model'"),
        ({**REMOTE, "base_url": "ftp://me:hunter2@host"}, "experts.new.base_url", "begins with http://"),
        ({**REMOTE, "base_url": "http://me:hunter2@host:99999"}, "experts.new.base_url", "begins with http://"),
        ({**REMOTE, "base_url": "http://host/v1?key=hunter2"}, "experts.new.base_url", "no query and no fragment"),
        ({**REMOTE, "base_url": "https://me:hunter2@api.example.com/v1"}, "experts.new.base_url", "allowed: own: true"),
        ({**REMOTE, "base_url": "http://8.8.8.8", "own": False}, "experts.new.base_url", "is a public address"),
        ({"kind": "extractive", "own": True}, "experts.new.own", "does not belong to an expert of kind 'extractive'"),
        ({"kind": "byt5", "path": "~nobody-at-all/x"}, "experts.new.path", "is no path ("),
        ({"kind": "byt5", "path": "x" * 3000}, "experts.new.path", "is no path ("),
        ({"kind": "extractive", "examples_file": "~nobody-at-all/x"}, "experts.new.examples_file", "is no path ("),
        ({**REMOTE, "api_key_env": "sk-hunter2"}, "experts.new.api_key_env", "is not written as it should be"),
        ({"kind": "python", "class": "no class"}, "experts.new.class", "is not written as it should be"),
        ({"kind": "byt5", "path": "x", "device": "gpu"}, "experts.new.device", "is not written as it should be"),
        ({"kind": "byt5", "path": "x", "dtype": "float31"}, "experts.new.dtype", "did you mean 'float32'?"),
        (
            {"kind": "byt5", "path": "x", "chunk_tokens": 8, "overlap_tokens": 8},
            "experts.new",
            "overlap_tokens must be less than chunk_tokens",
        ),
    ],
)
def test_a_mistake_in_an_expert_names_its_key(tmp_path: Path, entry: Any, key: str, says: str) -> None:
    error = mistake(tmp_path, {"experts": {"new": entry}})

    assert (error.file, error.key) == (str(tmp_path / "local.yaml"), key)
    assert says in str(error)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    "host", ["localhost", "[::1]", "10.0.0.7", "192.168.1.9", "gpu-box", "gpu.lan", "me:pw@ai.local"]
)
def test_a_server_of_a_network_of_one_s_own_needs_no_word(tmp_path: Path, host: str) -> None:
    url = f"http://{host}:8000/v1"

    assert load_local(local(tmp_path, {"experts": {"new": {**REMOTE, "base_url": url}}})).hosts["new"].base_url == url


def test_a_server_at_a_public_address_is_one_s_own_where_one_says_so(tmp_path: Path) -> None:
    own = {**REMOTE, "base_url": "https://gpu.example.com/v1", "own": True}

    assert load_local(local(tmp_path, {"experts": {"new": own}})).hosts["new"].base_url == own["base_url"]


@pytest.mark.parametrize(
    ("document", "key", "says"),
    [
        ({"expert": {}}, "", "unknown field 'expert'; did you mean 'experts'?"),
        ({"experts": {"By T5": REMOTE}}, "experts.By T5", "is not written as it should be"),
        ({"experts": {"auto": REMOTE}}, "experts.auto", "stands for the gate's own choice"),
        ({"gate": {"otherwise": "longforme"}}, "gate.otherwise", "did you mean 'longformer'?"),
        ({"gate": {"min_confidence": 2}}, "gate.min_confidence", "less than or equal to 1"),
        ({"batch": {"max_size": 0}}, "batch.max_size", "greater than or equal to 1"),
        ({"timeout_s": 0}, "timeout_s", "greater than 0"),
        ({"experts": {"byt5": {"examples_file": "none.yaml"}}}, "", "no such file"),
    ],
)
def test_a_mistake_elsewhere_names_its_key(tmp_path: Path, document: Any, key: str, says: str) -> None:
    error = mistake(tmp_path, document)

    assert (error.key, says in str(error)) == (key, True), str(error)


def test_a_mistake_that_the_lower_file_makes_possible_is_told_of_the_upper_one(tmp_path: Path) -> None:
    error = mistake(tmp_path, {"experts": {"byt5": {"hub": "google/byt5-small"}}})

    assert error.key == "experts.byt5"
    assert "needs either a path or a hub id" in str(error)


def test_examples_that_are_no_list_of_texts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "texts.yaml").write_text("- 1\n")

    error = mistake(tmp_path, {"experts": {"byt5": {"examples_file": "texts.yaml"}}})

    assert (error.file, error.what) == (str(tmp_path / "texts.yaml"), "must be a list of texts")
