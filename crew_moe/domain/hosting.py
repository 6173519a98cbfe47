"""What the local gate hosts, and how: the values that local.yaml says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from crew_moe.domain.word import Word


class HostKind(Word):
    """How a hosted expert is run: by a host of this package, by a class of the user's, or by a server elsewhere."""

    EXTRACTIVE = "extractive"
    BYT5 = "byt5"
    LONGFORMER = "longformer"
    CLASSIFIER = "classifier"
    CODET5 = "codet5"
    PYTHON = "python"
    VLLM = "vllm"
    SGLANG = "sglang"
    LLAMACPP = "llamacpp"
    OLLAMA = "ollama"
    TGI = "tgi"
    OPENAI = "openai"

    @property
    def is_remote(self) -> bool:
        """Whether the model runs in a server of its own."""
        return self in _REMOTE

    @property
    def has_weights(self) -> bool:
        """Whether it is loaded through transformers, from a path or a hub id."""
        return self in _WEIGHTS


_REMOTE: Final = frozenset(
    {HostKind.VLLM, HostKind.SGLANG, HostKind.LLAMACPP, HostKind.OLLAMA, HostKind.TGI, HostKind.OPENAI}
)
_WEIGHTS: Final = frozenset({HostKind.BYT5, HostKind.LONGFORMER, HostKind.CLASSIFIER, HostKind.CODET5})


class Quantisation(Word):
    """Numbers that the weights are kept in; int8 is dynamic and for the CPU."""

    NONE = "none"
    INT8 = "int8"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """One hosted expert. Lengths of text in characters, of chunks and answers in the model's tokens.

    Weights come from the folder `path` or, under `hub`, from the hub's cache or the hub itself. `class_path`
    (`module:Class`) or the entry point of the expert's own name gives the class of a `python` expert. `base_url` and
    `model` say where a remote one is. `device` and `dtype` are torch's words, or "auto". `memory_mb` is what the loaded
    model takes (None: measured by its weights). `examples` are texts that the gate learns it by; `options` go with
    every call unless the call has its own. `warm` ones are loaded at the start.
    """

    name: str
    kind: HostKind
    path: Path | None = None
    hub: str | None = None
    revision: str | None = None
    class_path: str | None = None
    base_url: str | None = None
    model: str | None = None
    api_key_env: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    quantisation: Quantisation = Quantisation.NONE
    max_input_chars: int = 200_000
    max_output_tokens: int = 1024
    chunk_tokens: int | None = None
    overlap_tokens: int = 0
    memory_mb: float | None = None
    examples: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    warm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSpec:
    """How calls of one hosted expert are put together: at most `max_size` of them and `max_tokens` of text, waiting
    `max_wait_ms` at most for company. Beyond `queue` that wait, callers are told that it is overloaded.
    """

    max_size: int = 16
    max_wait_ms: float = 5.0
    max_tokens: int = 32_768
    queue: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSpec:
    """What is remembered: results by their exact input, and (where `similarity` is set) results of inputs whose
    embedding is at least that near, as a cosine.
    """

    results: int = 1024
    embeddings: int = 4096
    similarity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSpec:
    """The gating network: `model` is its folder (None: the packaged one, or one trained on the experts' examples).

    Below `min_confidence` the `otherwise` expert serves. `capacity_factor` bounds the share of recent requests that
    one expert gets (None: no bound); what is over goes to the next one. `kept_in` is a folder for gates trained on
    examples (None: they are trained each time).
    """

    model: Path | None = None
    otherwise: str | None = None
    min_confidence: float = 0.0
    capacity_factor: float | None = None
    kept_in: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPlan:
    """local.yaml: everything that one local gate serves. `fallback` is an expert of the catalogue, for when a hosted
    one can't serve; `memory_limit_mb` bounds the loaded models together.
    """

    hosts: Mapping[str, HostSpec]
    gate: GateSpec = GateSpec()
    batch: BatchSpec = BatchSpec()
    cache: CacheSpec = CacheSpec()
    fallback: str | None = None
    memory_limit_mb: float = 4096.0
    timeout_s: float = 30.0
