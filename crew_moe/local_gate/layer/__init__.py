"""A mixture-of-experts layer over tokens, in PyTorch. Importing it needs the extra `local`: MissingExtra without."""

from __future__ import annotations

from crew_moe.errors import MissingExtra

try:
    import torch as _torch  # noqa: F401 - only to see whether it is there
except ModuleNotFoundError as missing:
    raise MissingExtra("local", "torch") from missing

from crew_moe.local_gate.layer.dispatch import combine
from crew_moe.local_gate.layer.experts import FFNExperts, SwiGLUExperts, TwoMatrixExperts
from crew_moe.local_gate.layer.gating import GatingNetwork, LinearGate, Scores
from crew_moe.local_gate.layer.moe_layer import LayerReport, MoELayer
from crew_moe.local_gate.layer.routing import Choices, Routes, TokenRouter
from crew_moe.local_gate.layer.top_k import TopK

__all__ = [
    "Choices",
    "FFNExperts",
    "GatingNetwork",
    "LayerReport",
    "LinearGate",
    "MoELayer",
    "Routes",
    "Scores",
    "SwiGLUExperts",
    "TokenRouter",
    "TopK",
    "TwoMatrixExperts",
    "combine",
]
