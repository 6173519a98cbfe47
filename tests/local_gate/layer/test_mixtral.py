"""Mixtral's sparse layers work the same here, whether they come from a model or from its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

import torch
from safetensors.torch import load_file, save_file
from transformers import MixtralConfig, MixtralForCausalLM

from crew_moe.domain.local_work import Trouble
from crew_moe.errors import HostFailed, InvalidInput
from crew_moe.local_gate.layer import load_mixtral_layer

LAYER = 1
PLACE = f"model.layers.{LAYER}.block_sparse_moe."


def _model(**others: Any) -> Any:
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=11,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_local_experts=4,
        num_experts_per_tok=2,
        initializer_range=0.5,
        **others,
    )
    return MixtralForCausalLM(config).eval()


@pytest.fixture(scope="module")
def model() -> Any:
    return _model()


@pytest.fixture
def folder(model: Any, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path)
    return tmp_path


def _change(folder: Path, **changed: torch.Tensor | None) -> None:
    """Write other tensors for these names (of the layer, dots as in `gate.weight`), or none."""
    file = folder / "model.safetensors"
    tensors = load_file(file) | {PLACE + name: tensor for name, tensor in changed.items() if tensor is not None}
    gone = {PLACE + name for name, tensor in changed.items() if tensor is None}
    save_file({name: tensor for name, tensor in tensors.items() if name not in gone}, file)


def _same(made: Any, model: Any, tolerance: float = 1e-6) -> bool:
    x = torch.randn(3, 7, 8, generator=torch.Generator().manual_seed(1)).to(made.gate.weight.dtype)
    with torch.no_grad():
        ours, _ = made(x)
        theirs = model.model.layers[LAYER].mlp(x)
    assert float(theirs.abs().max()) > 0.1
    return torch.allclose(ours, theirs, rtol=0, atol=tolerance)


def test_layer_of_a_model_answers_as_transformers_does(model: Any) -> None:
    assert _same(load_mixtral_layer(model, LAYER), model)
    assert _same(load_mixtral_layer(model.model, LAYER), model)
    assert not _same(load_mixtral_layer(model, 0), model)


def test_layer_of_a_folder_answers_as_transformers_does(folder: Path, model: Any) -> None:
    assert _same(load_mixtral_layer(folder, LAYER), model)


def test_layer_of_a_folder_in_many_files_answers_as_transformers_does(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path, max_shard_size="2KB")

    assert not (tmp_path / "model.safetensors").exists()
    assert _same(load_mixtral_layer(str(tmp_path), LAYER), model)


def test_weights_in_stacks_are_read_from_a_file_too(model: Any, folder: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")

    assert _same(load_mixtral_layer(folder, LAYER), model)


def test_dtype_and_activation_are_the_models() -> None:
    model = _model(hidden_act="gelu").bfloat16()

    made = load_mixtral_layer(model, LAYER)

    assert {weight.dtype for weight in made.parameters()} == {torch.bfloat16}
    assert _same(made, model, tolerance=0.05)


def test_weights_are_the_layers_own(model: Any) -> None:
    alike = _model()

    with torch.no_grad():
        for weight in load_mixtral_layer(alike, LAYER).parameters():
            weight.zero_()

    assert _same(load_mixtral_layer(alike, LAYER), model)


@pytest.mark.parametrize("name", ["gate.weight", "experts.0.w1.weight", "experts.3.w2.weight", "experts.2.w3.weight"])
def test_missing_or_misshapen_tensor_is_named(folder: Path, name: str) -> None:
    _change(folder, **{name: torch.zeros(3, 5)})
    with pytest.raises(HostFailed, match=rf"'{PLACE}{name}' .* shape \(3, 5\), not") as wrong:
        load_mixtral_layer(folder, LAYER)
    _change(folder, **{name: None})
    with pytest.raises(HostFailed, match=f"no tensor '{PLACE}{name}'") as missing:
        load_mixtral_layer(folder, LAYER)

    assert {wrong.value.trouble, missing.value.trouble} == {Trouble.BAD_WEIGHTS}


def test_layer_that_the_model_has_not_is_named(folder: Path) -> None:
    with pytest.raises(HostFailed, match=r"no tensor 'model.layers.7.block_sparse_moe.gate.weight'"):
        load_mixtral_layer(folder, 7)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_and_damaged_files_are_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"[1, 2")
    with pytest.raises(HostFailed, match=name) as damaged:
        load_mixtral_layer(folder, LAYER)
    (folder / name).unlink()
    with pytest.raises(HostFailed, match=name) as missing:
        load_mixtral_layer(folder, LAYER)

    assert (damaged.value.trouble, missing.value.trouble) == (Trouble.BAD_WEIGHTS, Trouble.MISSING_WEIGHTS)


@pytest.mark.parametrize(
    ("key", "value"), [("num_local_experts", None), ("hidden_size", "8"), ("intermediate_size", 0)]
)
def test_configuration_without_a_size_is_refused(folder: Path, key: str, value: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | {key: value}), encoding="utf-8")

    with pytest.raises(HostFailed, match=f"'{key}'"):
        load_mixtral_layer(folder, LAYER)


def test_unknown_activation_is_told_with_those_that_there_are(folder: Path) -> None:
    file = folder / "config.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"silu"', '"gelu_new"'), encoding="utf-8")

    with pytest.raises(InvalidInput, match=r"'gelu_new'; .*allowed: relu, gelu, silu"):
        load_mixtral_layer(folder, LAYER)


def test_module_without_a_configuration_is_refused() -> None:
    with pytest.raises(HostFailed, match="Linear has no configuration"):
        load_mixtral_layer(torch.nn.Linear(2, 2))
