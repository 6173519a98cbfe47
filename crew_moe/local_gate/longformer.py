"""Longformer and its encoder-decoder LED: long documents, attended to in windows (Beltagy et al. 2020,
arXiv:2004.05150). Needs torch.

LED summarises and embeds; a Longformer without decoder embeds only. The first token attends to all, and all to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch

from crew_moe.domain.hosting import HostSpec
from crew_moe.domain.local_work import Made, Trouble, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.demo.manifest import DemoManifest
from crew_moe.local_gate.hosts.chunks import Chunk, chunks
from crew_moe.local_gate.hosts.embedding import embedded
from crew_moe.local_gate.hosts.generation import Encoded, tokens_of
from crew_moe.local_gate.hosts.loading import LoadedModel, config_of, load, manifest_of
from crew_moe.local_gate.hosts.seq2seq import SPECIALS, Seq2Seq, window_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WINDOW: Final = 4096
LED: Final = "led"
FAIRSEQ_OFFSET: Final = 2
"""Longformer counts positions from its padding token's id on, so that two of them hold no token."""


class Led(Seq2Seq):
    """Summarises; a text beyond its window is summarised by chunks, and then what was made of them.

    A model of our own training gets the text alone, without the words that ask for a summary of it.
    """

    def __init__(self, spec: HostSpec, loaded: LoadedModel, manifest: DemoManifest | None = None) -> None:
        window = window_of(loaded, default=WINDOW, setting="max_encoder_position_embeddings")
        longest = loaded.model.config.max_decoder_position_embeddings - 1
        super().__init__(spec, loaded, window=window, longest=longest, condenses=True)
        self._manifest = manifest

    def read(self, text: str, options: Mapping[str, Any]) -> tuple[str, tuple[Chunk, ...]]:
        found = self._manifest.task_of(text) if self._manifest is not None else None
        return super().read(text if found is None else found[1], options)

    def extras(self, batch: Encoded) -> Encoded:
        return {"global_attention_mask": _first_attends_to_all(batch)}


class Longformer:
    """An encoder alone."""

    def __init__(self, spec: HostSpec, loaded: LoadedModel) -> None:
        self.loaded = loaded
        window = window_of(loaded, default=WINDOW, setting="max_position_embeddings") - FAIRSEQ_OFFSET
        self._budget = max(1, min(window, spec.chunk_tokens or window) - SPECIALS)

    def process(self, works: Sequence[Work]) -> Sequence[Made | HostFailed]:
        return [_not_capable() for _ in works]

    def stream(self, work: Work) -> Iterator[str]:  # noqa: ARG002 - no text would do
        raise _not_capable()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        parts = [chunks(text, budget=self._budget, measure=lambda one: tokens_of(self.loaded, one)) for text in texts]
        return embedded(self.loaded, parts, self._hidden, extras=self._extras)

    def _extras(self, batch: Encoded) -> Encoded:
        return {"global_attention_mask": _first_attends_to_all(batch)}

    def _hidden(self, batch: Encoded) -> torch.Tensor:
        states: torch.Tensor = self.loaded.model(**batch).last_hidden_state
        return states


def open_model(spec: HostSpec) -> Led | Longformer:
    """Load what the weights' config says they are. Raises HostFailed."""
    if config_of(spec).model_type == LED:
        manifest = manifest_of(spec)
        return Led(spec, load(spec, "AutoModelForSeq2SeqLM"), manifest)
    return Longformer(spec, load(spec, "AutoModel"))


def _first_attends_to_all(batch: Encoded) -> torch.Tensor:
    mask = torch.zeros_like(batch["attention_mask"])  # (texts, tokens)
    mask[:, 0] = 1
    return mask


def _not_capable() -> HostFailed:
    return HostFailed(
        Trouble.NOT_CAPABLE,
        "this model has no decoder: it makes embeddings, no texts",
        next_steps=("ask it with `task: embed`", "or give the expert the weights of an LED"),
    )
