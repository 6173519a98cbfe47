"""Mixtral's sparse layers as a MoELayer, from transformers' model or from the folder that save_pretrained wrote.

In memory the weights of all experts lie in two stacks; in files each expert has three matrices: w1 (gate), w3 (up)
and w2 (down). Both are read, under the names of Mixtral (`block_sparse_moe`) and of transformers 5 (`mlp`).
Jiang, A. et al.: Mixtral of Experts, 2024 (arXiv:2401.04088).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from crew_moe.domain.local_work import Trouble
from crew_moe.errors import HostFailed, MissingExtra
from crew_moe.local_gate.layer.experts import SwiGLUExperts
from crew_moe.local_gate.layer.gating import LinearGate
from crew_moe.local_gate.layer.moe_layer import MoELayer
from crew_moe.local_gate.layer.top_k import TopK

PLACES: Final = tuple(
    f"{model}layers.{{}}.{block}." for model in ("model.", "") for block in ("block_sparse_moe", "mlp")
)
INDEX: Final = "model.safetensors.index.json"
WHOLE: Final = "model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """The tensors of a model, read one at a time, and what its configuration says."""

    where: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Callable[[], Tensor]]

    def number(self, key: str) -> int:
        value = self.config.get(key)
        if not isinstance(value, int) or value < 1:
            raise _bad(f"the configuration of {self.where} has no whole number '{key}' above 0")
        return value

    def read(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """A tensor of this shape. Raises HostFailed with its name."""
        if name not in self.tensors:
            raise _bad(f"{self.where} has no tensor '{name}'")
        tensor = self.tensors[name]()
        if tensor.shape != shape:
            raise _bad(f"'{name}' of {self.where} has the shape {tuple(tensor.shape)}, not {shape}")
        return tensor


def load_mixtral_layer(source: Path | str | nn.Module, layer: int = 0) -> MoELayer:
    """The sparse layer number `layer` of a Mixtral model, with weights of its own in the dtype that they have there.

    `source` is a folder with config.json and safetensors files, of which only this layer's tensors are read, or a model
    (MixtralForCausalLM or MixtralModel). The router's jitter, noise for training, is not taken over. Raises HostFailed:
    MISSING_WEIGHTS where there is no model, BAD_WEIGHTS with the tensor's name where one is missing or has another
    shape; and InvalidInput for an activation that the layer does not know.
    """
    found = _of_module(source) if isinstance(source, nn.Module) else _of_folder(Path(source))
    width, inner = found.number("hidden_size"), found.number("intermediate_size")
    count, k = found.number("num_local_experts"), found.number("num_experts_per_tok")
    place = _place(found, layer)
    weight = found.read(f"{place}gate.weight", (count, width)).clone()
    with torch.device("meta"):  # nothing is drawn at random: the weights come right away
        gate = LinearGate(width, count)
        experts = SwiGLUExperts(count, width, inner, str(found.config.get("hidden_act", "silu")))
    gate_up = weight.new_empty(count, 2 * inner, width)
    down = weight.new_empty(count, width, inner)
    _fill(found, f"{place}experts.", gate_up, down)
    gate.load_state_dict({"weight": weight}, assign=True)
    experts.load_state_dict({"gate_up": gate_up, "down": down}, assign=True)
    return MoELayer(gate=gate, router=TopK(k=k), experts=experts)


def _place(found: _Source, layer: int) -> str:
    """What the names of the layer's tensors begin with."""
    for place in PLACES:
        if f"{place.format(layer)}gate.weight" in found.tensors:
            return place.format(layer)
    raise _bad(f"{found.where} has no tensor '{PLACES[0].format(layer)}gate.weight'")


def _fill(found: _Source, place: str, gate_up: Tensor, down: Tensor) -> None:
    if f"{place}gate_up_proj" in found.tensors:
        gate_up.copy_(found.read(f"{place}gate_up_proj", tuple(gate_up.shape)))
        down.copy_(found.read(f"{place}down_proj", tuple(down.shape)))
        return
    _, width, inner = down.shape
    for expert in range(len(down)):
        gate_up[expert, :inner] = found.read(f"{place}{expert}.w1.weight", (inner, width))
        gate_up[expert, inner:] = found.read(f"{place}{expert}.w3.weight", (inner, width))
        down[expert] = found.read(f"{place}{expert}.w2.weight", (width, inner))


def _of_module(model: nn.Module) -> _Source:
    config: Any = getattr(model, "config", None)
    if config is None:
        raise _bad(f"{type(model).__name__} has no configuration")
    tensors = {name: tensor.detach for name, tensor in model.state_dict().items()}
    return _Source(where=type(model).__name__, config=config.to_dict(), tensors=tensors)


def _of_folder(folder: Path) -> _Source:
    config = _json(folder / "config.json")
    names = {WHOLE}
    if (folder / INDEX).is_file():
        names = set(_table(_json(folder / INDEX).get("weight_map"), folder / INDEX).values())
    tensors: dict[str, Callable[[], Tensor]] = {}
    for name in sorted(names):
        tensors |= _of_file(folder / Path(name).name)
    return _Source(where=str(folder), config=config, tensors=tensors)


def _of_file(file: Path) -> dict[str, Callable[[], Tensor]]:
    """What reads each tensor of a file."""
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError as missing:
        raise MissingExtra("local", "safetensors") from missing
    if not file.is_file():
        raise _missing(file)
    try:
        opened: Any = safe_open(file, framework="pt")
    except SafetensorError as error:
        raise _bad(f"{file} is damaged or cut off") from error
    return {name: partial(opened.get_tensor, name) for name in opened.keys()}  # noqa: SIM118 - it is no dict


def _json(file: Path) -> Mapping[str, Any]:
    if not file.is_file():
        raise _missing(file)
    try:
        return _table(json.loads(file.read_text(encoding="utf-8")), file)
    except (ValueError, RecursionError) as error:
        raise _bad(f"{file} is not JSON") from error


def _table(value: object, file: Path) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _bad(f"{file} does not hold what it should")
    return value


def _missing(file: Path) -> HostFailed:
    steps = ("give the folder that save_pretrained wrote, with config.json and *.safetensors",)
    return HostFailed(Trouble.MISSING_WEIGHTS, f"there is no file {file}", next_steps=steps)


def _bad(what: str) -> HostFailed:
    return HostFailed(Trouble.BAD_WEIGHTS, what, next_steps=("fetch or train the model anew",))
