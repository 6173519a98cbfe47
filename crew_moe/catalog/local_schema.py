"""What local.yaml may hold, as pydantic models, from which editors get their JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, StrictBool, model_validator

from crew_moe.catalog.expert_schema import VariableName
from crew_moe.catalog.schema import Count, Entry, Positive
from crew_moe.domain.hosting import HostKind, Quantisation
from crew_moe.domain.request import Name, Unit

MAX_EXAMPLES: Final = 10_000
# It becomes a part of `local/<name>` and `moe-expert-<name>`.
HostName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=100)]
PathText = Annotated[str, Field(min_length=1, max_length=4000)]
Example = Annotated[str, Field(min_length=1, max_length=100_000)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$")]
ClassPath = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", max_length=300)]

COMMON: Final = frozenset(
    {"kind", "max_input_chars", "max_output_tokens", "examples", "examples_file", "options", "warm"}
)
REMOTE: Final = frozenset({"base_url", "own", "model", "api_key_env"})
WEIGHTS: Final = frozenset(
    {"path", "hub", "revision", "device", "dtype", "quantisation", "chunk_tokens", "overlap_tokens", "memory_mb"}
)


def keys_of(kind: HostKind) -> frozenset[str]:
    """The keys that an expert of this kind may have."""
    if kind.is_remote:
        return COMMON | REMOTE
    if kind is HostKind.PYTHON:
        return COMMON | WEIGHTS | {"class"}
    return COMMON | WEIGHTS if kind.has_weights else COMMON


class HostEntry(Entry):
    """One hosted expert. Its kind decides which keys it may have. `own`: the server is a machine of the user's, though
    its address is a public one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    kind: HostKind
    path: PathText | None = None
    hub: Name | None = None
    revision: Name | None = None
    class_path: ClassPath | None = Field(default=None, alias="class")
    base_url: Annotated[str, Field(max_length=2000)] | None = None
    own: StrictBool | None = None
    model: Name | None = None
    api_key_env: VariableName | None = None
    device: Device = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    quantisation: Quantisation = Quantisation.NONE
    max_input_chars: Annotated[int, Field(ge=1, le=50_000_000)] = 200_000
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    chunk_tokens: Count | None = None
    overlap_tokens: Annotated[int, Field(ge=0)] = 0
    memory_mb: Positive | None = None
    examples: Annotated[list[Example], Field(max_length=MAX_EXAMPLES)] = Field(default=[])
    examples_file: PathText | None = None
    options: dict[str, Any] = Field(default={})
    warm: StrictBool = False

    @property
    def given(self) -> frozenset[str]:
        """The keys that were written, as they are written; null stands for none."""
        return frozenset(
            type(self).model_fields[name].alias or name
            for name in self.model_fields_set
            if getattr(self, name) is not None
        )

    @model_validator(mode="after")
    def _chunks(self) -> Self:
        if self.chunk_tokens is not None and self.overlap_tokens >= self.chunk_tokens:
            raise ValueError("overlap_tokens must be less than chunk_tokens")
        return self


class GateEntry(Entry):
    """The gating network."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: PathText | None = None
    otherwise: HostName | None = None
    min_confidence: Unit = 0.0
    capacity_factor: Annotated[float, Field(ge=1.0, le=100.0)] | None = None


class BatchEntry(Entry):
    """How calls of one expert are put together."""

    max_size: Annotated[int, Field(ge=1, le=4096)] = 16
    max_wait_ms: Annotated[float, Field(ge=0, le=10_000)] = 5.0
    max_tokens: Count = 32_768
    queue: Annotated[int, Field(ge=1, le=1_000_000)] = 256


class CacheEntry(Entry):
    """What is remembered; 0: nothing."""

    results: Annotated[int, Field(ge=0, le=10_000_000)] = 1024
    embeddings: Annotated[int, Field(ge=0, le=10_000_000)] = 4096
    similarity: Annotated[float, Field(gt=0, le=1)] | None = None


class LocalFile(Entry):
    """local.yaml. An expert that is null is taken away."""

    experts: dict[HostName, HostEntry | None]
    gate: GateEntry = GateEntry()
    batch: BatchEntry = BatchEntry()
    cache: CacheEntry = CacheEntry()
    fallback: Name | None = None
    memory_limit_mb: Positive = 4096.0
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 30.0
