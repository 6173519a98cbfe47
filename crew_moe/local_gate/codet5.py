"""CodeT5 and other T5s with a tokenizer of subwords (Wang et al. 2021, arXiv:2109.00859). Needs torch."""

from __future__ import annotations

from typing import Final

from crew_moe.domain.hosting import HostSpec
from crew_moe.local_gate.hosts.loading import load
from crew_moe.local_gate.hosts.seq2seq import Seq2Seq, window_of

WINDOW: Final = 512


def open_model(spec: HostSpec) -> Seq2Seq:
    """Load the weights and the tokenizer beside them. Raises HostFailed."""
    loaded = load(spec, "AutoModelForSeq2SeqLM")
    return Seq2Seq(spec, loaded, window=window_of(loaded, default=WINDOW, setting="n_positions"))
