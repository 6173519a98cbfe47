"""Where a model runs, in which numbers, and how much memory it takes. Needs torch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Final

import torch
from torch import nn

from crew_moe.domain.hosting import HostSpec, Quantisation
from crew_moe.domain.local_work import Trouble
from crew_moe.errors import HostFailed, closest

DTYPES: Final[Mapping[str, torch.dtype]] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def device_of(spec: HostSpec) -> torch.device:
    """The spec's device; "auto": CUDA, Apple's, else the CPU, which int8 always takes. Raises HostFailed."""
    if spec.device == "auto":
        return torch.device("cpu" if spec.quantisation is Quantisation.INT8 else _best())
    try:
        device = torch.device(spec.device)
    except RuntimeError:
        raise _refused(f"'{spec.device}' is no device", "set `device:` to auto, cpu, cuda or mps") from None
    if device.type not in _present():
        raise _refused(f"this machine has no '{device.type}'", "set `device: auto`")
    if spec.quantisation is Quantisation.INT8 and device.type != "cpu":
        raise _refused("int8 is for the CPU", "set `device: cpu` or `quantisation: none`")
    return device


def dtype_of(spec: HostSpec, device: torch.device) -> torch.dtype:
    """The spec's numbers; "auto": bfloat16 on CUDA, else float32, which int8 starts from. Raises HostFailed."""
    if spec.dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    dtype = DTYPES.get(spec.dtype)
    if dtype is None:
        near = closest(spec.dtype, DTYPES)
        hint = f"; did you mean '{near}'?" if near else ""
        raise _refused(f"'{spec.dtype}' is no dtype{hint}", f"set `dtype:` to auto, {', '.join(DTYPES)}")
    if spec.quantisation is Quantisation.INT8 and dtype is not torch.float32:
        raise _refused("int8 is made from float32", "set `dtype: auto`")
    return dtype


def quantised(model: nn.Module) -> nn.Module:
    """The model with the weights of its linear layers in int8; what they are multiplied by is quantised as it comes.

    torch warns that its own quantisation will go. Its successor (torchao) is another download and, without compiling,
    slower than no quantisation for short texts.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.ao.quantization import quantize_dynamic

        made: nn.Module = quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)  # type: ignore[no-untyped-call]
    return made


def memory_bytes(model: nn.Module) -> int:
    """What the weights take, tied ones once; int8 layers keep theirs outside of torch's parameters."""
    tensors = {tensor.data_ptr(): tensor.nbytes for tensor in (*model.parameters(), *model.buffers())}
    return sum(tensors.values()) + sum(_packed_bytes(module) for module in model.modules())


def _packed_bytes(module: nn.Module) -> int:
    if type(module).__module__.startswith("torch.ao.nn.quantized.dynamic"):
        return int(module.in_features * module.out_features + 12 * module.out_features)  # type: ignore[operator]  # ints there
    return 0


def _best() -> str:
    return next(kind for kind in ("cuda", "mps", "cpu") if kind in _present())


def _present() -> tuple[str, ...]:
    cuda = ("cuda",) if torch.cuda.is_available() else ()
    return (*cuda, *(("mps",) if torch.backends.mps.is_available() else ()), "cpu")


def _refused(what: str, step: str) -> HostFailed:
    return HostFailed(Trouble.UNAVAILABLE, what, next_steps=(step,))
