"""Weights are loaded, or it is said what is wrong with them; and a folder is read without the network."""

from __future__ import annotations

import json
import os
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.domain.local_work import Loaded, Trouble, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.hosts import open_host, weights
from crew_moe.ports import Host
from tests.local_gate.hosts.weights_folders import Tiny, tiny

__all__ = ["tiny"]  # a fixture
KINDS = {
    "byt5": "byt5",
    "codet5": "codet5",
    "led": "longformer",
    "longformer": "longformer",
    "classifier": "classifier",
}


def opened(kind: str, **told: Any) -> Host:
    return open_host(HostSpec(name="it", kind=HostKind(kind), max_output_tokens=4, **told))


def failure(host: Host) -> HostFailed:
    with pytest.raises(HostFailed) as failed:
        host.load()
    assert host.version == ""
    return failed.value


@pytest.fixture
def copied(tiny: Tiny, tmp_path: Path) -> Path:
    """A ByT5 that may be spoilt."""
    shutil.copytree(tiny("byt5"), tmp_path / "it")
    return tmp_path / "it"


@pytest.mark.parametrize("kind", [kind for kind in HostKind if kind.has_weights])
def test_folder_that_is_not_there_is_told_with_what_to_do(kind: str, tmp_path: Path) -> None:
    host = opened(kind, path=tmp_path / "absent")

    failed = failure(host)

    assert failed.trouble is Trouble.MISSING_WEIGHTS
    assert str(tmp_path / "absent") in failed.what
    assert any("crew-moe local train-demo" in step for step in failed.next_steps)


@pytest.mark.parametrize("names", [["config.json"], ["model.safetensors"]])
def test_file_that_is_not_there_is_told(copied: Path, names: list[str]) -> None:
    for name in names:
        (copied / name).unlink()

    assert failure(opened("byt5", path=copied)).trouble is Trouble.MISSING_WEIGHTS


def test_health_of_a_cold_host_sees_what_is_missing(copied: Path) -> None:
    host = opened("byt5", path=copied)
    assert host.health().state is Loaded.COLD

    (copied / "model.safetensors").unlink()

    assert (host.health().state, host.health().trouble) == (Loaded.FAILED, Trouble.MISSING_WEIGHTS)


def test_expert_without_any_weights_named_is_told_so() -> None:
    assert failure(opened("byt5")).trouble is Trouble.MISSING_WEIGHTS


@pytest.mark.parametrize("length", [0, 5, 300, -100])
def test_weights_that_are_cut_off_are_told_by_their_file(copied: Path, length: int) -> None:
    file = copied / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:length])

    failed = failure(opened("byt5", path=copied))

    assert failed.trouble is Trouble.BAD_WEIGHTS
    assert str(file) in failed.what


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model_type": "t5", "d_model": "wide"}', "\0\0"])
def test_config_that_is_none_is_told(copied: Path, content: str) -> None:
    (copied / "config.json").write_text(content, encoding="utf-8")

    assert failure(opened("byt5", path=copied)).trouble is Trouble.BAD_WEIGHTS


def test_weights_of_another_shape_are_told(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text(encoding="utf-8"))
    (copied / "config.json").write_text(json.dumps({**config, "d_model": 32}), encoding="utf-8")

    assert failure(opened("byt5", path=copied)).trouble is Trouble.BAD_WEIGHTS


def test_weights_of_another_kind_are_told(tiny: Tiny) -> None:
    """A head that the weights lack would be random numbers."""
    failed = failure(opened("classifier", path=tiny("longformer")))

    assert failed.trouble is Trouble.BAD_WEIGHTS
    assert "kind" in failed.what


@pytest.mark.parametrize("name", ["codet5", "led", "longformer", "classifier"])
def test_folder_without_a_tokenizer_is_told(tiny: Tiny, name: str, tmp_path: Path) -> None:
    shutil.copytree(tiny(name), tmp_path / "it", ignore=shutil.ignore_patterns("token*"))

    failed = failure(opened(KINDS[name], path=tmp_path / "it"))

    assert failed.trouble is Trouble.MISSING_WEIGHTS
    assert "tokenizer" in failed.what


@pytest.mark.parametrize("name", KINDS)
def test_folder_is_loaded_and_used_without_the_network(tiny: Tiny, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny(name)

    def reached(*_: Any, **__: Any) -> Any:
        pytest.fail("somebody reached for the network")

    for way in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, way, reached)
    monkeypatch.setattr(socket, "getaddrinfo", reached)

    host = opened(KINDS[name], path=folder)
    host.load()

    assert host.embed(["x"]).shape == (1, 16)


def test_hub_that_cannot_be_reached_is_told(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny("byt5")
    constants = pytest.importorskip("huggingface_hub.constants", reason="transformers is not installed")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    failed = failure(opened("byt5", hub="nobody/nothing"))

    assert failed.trouble is Trouble.MISSING_WEIGHTS
    assert "'nobody/nothing'" in failed.what


def test_model_in_the_hubs_cache_needs_no_hub(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    home = tmp_path / "models--us--tiny"
    shutil.copytree(tiny("codet5"), home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit, encoding="utf-8")
    constants = pytest.importorskip("huggingface_hub.constants", reason="transformers is not installed")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    host = opened("codet5", hub="us/tiny")
    host.load()

    assert host.process([Work(text="x")])
    assert host.version != opened("codet5", hub="us/other").version


def test_version_changes_with_the_weights_and_with_what_is_made_of_them(copied: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    def version(**told: Any) -> str:
        host = opened("byt5", path=copied, **told)
        host.load()
        return host.version

    first = version()
    same, other = version(), version(options={"instruction": "shout: "})
    weights = load_file(copied / "model.safetensors")
    weights["shared.weight"] = weights["shared.weight"] + torch.tensor(1e-3)
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})

    assert same == first
    assert len({first, other, version()}) == 3


def test_large_files_count_by_their_size_and_time(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "WHOLE_BYTES", 10)
    spec = HostSpec(name="it", kind=HostKind.BYT5, path=copied)

    versions = [weights.version(spec, folder=copied)]
    for _ in range(2):
        os.utime(copied / "model.safetensors", ns=(1, len(versions)))
        versions.append(weights.version(spec, folder=copied))

    assert len(set(versions)) == 3


def test_models_that_are_loaded_at_once_are_all_whole(tiny: Tiny) -> None:
    names = ["byt5", "codet5", "led", "classifier"] * 3
    hosts = [opened(KINDS[name], path=tiny(name)) for name in names]

    with ThreadPoolExecutor(len(hosts)) as threads:
        list(threads.map(lambda host: host.load(), hosts))

    assert all(host.health().state is Loaded.READY for host in hosts)


@pytest.mark.parametrize(("set_up", "found"), [(None, "1"), ("0", "0")])
def test_the_hub_gets_no_reports_unless_one_wants_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, set_up: str | None, found: str
) -> None:
    names = ("HF_HUB_DISABLE_TELEMETRY", "DISABLE_SAFETENSORS_CONVERSION")
    for name in names:
        monkeypatch.setenv(name, set_up or "")
        if set_up is None:
            monkeypatch.delenv(name)

    failure(opened("byt5", path=tmp_path / "none"))

    assert [os.environ[name] for name in names] == [found] * 2


def test_loading_says_nothing_on_the_terminal(tiny: Tiny, capfd: pytest.CaptureFixture[str]) -> None:
    host = opened("longformer", path=tiny("led"))
    host.load()
    host.process([Work(text="The pump failed.")])

    assert capfd.readouterr() == ("", "")
