"""How well a router spread the tokens of one pass."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from crew_moe.local_gate.layer.losses import cv_squared
from crew_moe.local_gate.layer.routing import Routes


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingDiagnostics:
    """Shares are between 0 and 1; an entropy of 1 is that of equal parts."""

    utilisation: tuple[float, ...]  # each FFN expert's share of the work
    used: float  # share of the FFN experts that have any
    entropy: float  # of the utilisation
    token_entropy: float  # of one token's probabilities, on average: low is sure
    load_cv2: float  # squared coefficient of variation of the work
    importance_cv2: float  # ... of the probabilities' sums
    overflow_share: float  # choices that met a full expert
    dropped_share: float  # choices that nobody carried out
    churn: float  # neighbouring tokens of a sequence whose most probable expert differs


def diagnose(routes: Routes) -> RoutingDiagnostics:
    """The diagnostics of one pass; padding counts nowhere."""
    live = torch.ones(routes.tokens, dtype=torch.bool) if routes.live is None else routes.live.cpu()
    probabilities = routes.probabilities.detach().cpu().double()  # (T, E)
    work = torch.bincount(routes.expert.cpu(), minlength=routes.experts).double()
    share = work / work.sum().clamp_min(1)
    wanted = max(1, len(routes.choices.expert))
    return RoutingDiagnostics(
        utilisation=tuple(share.tolist()),
        used=float((work > 0).double().mean()),
        entropy=_entropy(share),
        token_entropy=_entropy(probabilities[live]),
        load_cv2=float(cv_squared(work)),
        importance_cv2=float(cv_squared(probabilities[live].sum(dim=0))),
        overflow_share=routes.overflowed / wanted,
        dropped_share=routes.dropped / wanted,
        churn=_churn(probabilities.argmax(dim=-1), live, routes.sequences),
    )


def _entropy(shares: Tensor) -> float:
    """Mean over the rows (n, E) or of the one row (E,), as a share of log E."""
    rows = torch.special.entr(shares).sum(dim=-1) / math.log(max(2, shares.shape[-1]))
    return float(rows.mean()) if rows.numel() else 0.0


def _churn(first: Tensor, live: Tensor, sequences: int) -> float:
    first, live = first.view(sequences, -1), live.view(sequences, -1)
    pairs = live[:, 1:] & live[:, :-1]
    return float((first[:, 1:] != first[:, :-1])[pairs].double().mean()) if pairs.any() else 0.0
