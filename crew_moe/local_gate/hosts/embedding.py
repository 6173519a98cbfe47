"""A text's embedding: the mean of the hidden states of all its tokens, of length 1. Needs torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from crew_moe.local_gate.hosts.chunks import Chunk, averaged
from crew_moe.local_gate.hosts.generation import ROWS, Encoded, Extras, encoded
from crew_moe.local_gate.hosts.loading import LoadedModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

Hidden = Callable[[Encoded], torch.Tensor]


def embedded(
    loaded: LoadedModel, texts: Sequence[Sequence[Chunk]], hidden: Hidden, *, extras: Extras
) -> NDArray[np.float32]:
    """One row for each text: the mean over its chunks by their tokens, of length 1. (texts, width)"""
    parts = [part.text for text in texts for part in text]
    pooled, weights = zip(*_pooled(loaded, parts, hidden, extras), strict=True) if parts else ((), ())
    rows, start = [], 0
    for text in texts:
        end = start + len(text)
        rows.append(averaged(np.stack(pooled[start:end]), weights[start:end]))
        start = end
    return np.asarray([_normalised(row) for row in rows], dtype=np.float32)


def _pooled(
    loaded: LoadedModel, parts: Sequence[str], hidden: Hidden, extras: Extras
) -> list[tuple[NDArray[np.float64], float]]:
    """(mean state, tokens) of each part; padding does not count."""
    found: list[tuple[NDArray[np.float64], float]] = []
    for start in range(0, len(parts), ROWS):
        batch = encoded(loaded, parts[start : start + ROWS], extras)
        with torch.inference_mode():
            states = hidden(batch).float()
        mask = batch["attention_mask"][:, : states.shape[1], None].float()  # (parts, tokens, 1)
        counts = mask.sum(dim=1).clamp(min=1.0)
        means = ((states[:, : mask.shape[1]] * mask).sum(dim=1) / counts).double().cpu().numpy()
        found += list(zip(means, counts[:, 0].tolist(), strict=True))
    return found


def _normalised(row: NDArray[np.float64]) -> NDArray[np.float64]:
    length = float(np.linalg.norm(row))
    return row / length if length > 0 else np.eye(1, len(row))[0]
