"""DeepSpeed's gating, run as a program where deepspeed can be imported: cases in one file, answers in another (JSON).

A case is {gating, arguments, logits}; its answer holds the auxiliary loss, the weights (tokens, experts), the capacity,
and the gradients at the logits of the loss and of the weights' slope.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch


def answer(case: dict[str, Any]) -> dict[str, Any]:
    gating = getattr(import_module("deepspeed.moe.sharded_moe"), case["gating"])
    given = torch.tensor(case["logits"], requires_grad=True)
    # One of them adds its noise in place.
    loss, combine, _, _ = gating(given * 1.0, **case["arguments"])
    weights = combine.sum(dim=-1)  # (T, E)
    slope = (weights * torch.linspace(-1, 1, weights.numel()).view_as(weights)).sum()
    (of_loss,) = torch.autograd.grad(loss, given, retain_graph=True)
    (of_slope,) = torch.autograd.grad(slope, given, materialize_grads=True)
    return {
        "loss": loss.item(),
        "weights": weights.tolist(),
        "capacity": combine.shape[-1],
        "of_loss": of_loss.tolist(),
        "of_slope": of_slope.tolist(),
    }


if __name__ == "__main__":
    asked, answers = (Path(name) for name in sys.argv[1:])
    cases = json.loads(asked.read_text(encoding="utf-8"))
    answers.write_text(json.dumps([answer(case) for case in cases]), encoding="utf-8")
