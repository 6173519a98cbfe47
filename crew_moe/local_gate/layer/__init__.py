"""A mixture-of-experts layer over tokens, in PyTorch. Importing it needs the extra `local`: MissingExtra without."""

from __future__ import annotations

from crew_moe.errors import MissingExtra

try:
    import torch as _torch  # noqa: F401 - only to see whether it is there
except ModuleNotFoundError as missing:
    raise MissingExtra("local", "torch") from missing

from crew_moe.local_gate.layer.capacity import Capacity, Overflow, Priority, Rounding
from crew_moe.local_gate.layer.diagnostics import RoutingDiagnostics, diagnose
from crew_moe.local_gate.layer.dispatch import combine
from crew_moe.local_gate.layer.dynamic_k import k_under
from crew_moe.local_gate.layer.expert_choice import ExpertChoice
from crew_moe.local_gate.layer.experts import Experts, FFNExperts, SwiGLUExperts, TwoMatrixExperts
from crew_moe.local_gate.layer.gating import GatingNetwork, LinearGate, NoisyGate, Scores
from crew_moe.local_gate.layer.losses import (
    Balance,
    LossWeights,
    balance_loss,
    importance_loss,
    load_loss,
    total_loss,
    z_loss,
)
from crew_moe.local_gate.layer.mixtral import load_mixtral_layer
from crew_moe.local_gate.layer.moe_layer import LayerReport, MoELayer
from crew_moe.local_gate.layer.parallel import ParallelExperts, sum_shared_gradients
from crew_moe.local_gate.layer.routing import Choices, Routes, TokenRouter
from crew_moe.local_gate.layer.shared import SharedExperts
from crew_moe.local_gate.layer.switch import Switch
from crew_moe.local_gate.layer.top_k import TopK
from crew_moe.local_gate.layer.top_p import TopP
from crew_moe.local_gate.layer.weighting import Weighting

__all__ = [
    "Balance",
    "Capacity",
    "Choices",
    "ExpertChoice",
    "Experts",
    "FFNExperts",
    "GatingNetwork",
    "LayerReport",
    "LinearGate",
    "LossWeights",
    "MoELayer",
    "NoisyGate",
    "Overflow",
    "ParallelExperts",
    "Priority",
    "Rounding",
    "Routes",
    "RoutingDiagnostics",
    "Scores",
    "SharedExperts",
    "SwiGLUExperts",
    "Switch",
    "TokenRouter",
    "TopK",
    "TopP",
    "TwoMatrixExperts",
    "Weighting",
    "balance_loss",
    "combine",
    "diagnose",
    "importance_loss",
    "k_under",
    "load_loss",
    "load_mixtral_layer",
    "sum_shared_gradients",
    "total_loss",
    "z_loss",
]
