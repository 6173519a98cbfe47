"""The activations that FFN experts may have, each with its derivative."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from crew_moe.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """An elementwise function; `backward` takes the gradient of its value and its argument."""

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]


def _relu(x: Tensor) -> Tensor:
    """Without keeping its result for autograd, as torch's own does: gated experts multiply into that."""
    return functional.threshold(x, 0, 0)


def _relu_backward(gradient: Tensor, x: Tensor) -> Tensor:
    passed: Tensor = torch.ops.aten.threshold_backward(gradient, x, 0)
    return passed


ACTIVATIONS: Final = {
    "relu": Activation(forward=_relu, backward=_relu_backward),
    "gelu": Activation(forward=functional.gelu, backward=torch.ops.aten.gelu_backward),
    "silu": Activation(forward=functional.silu, backward=torch.ops.aten.silu_backward),
}


def check_activation(name: str) -> None:
    """Raises InvalidInput with the closest name that there is."""
    if name not in ACTIVATIONS:
        what = f"there is no activation '{name}'"
        raise InvalidInput(what, where="activation", value=name, allowed=ACTIVATIONS)
