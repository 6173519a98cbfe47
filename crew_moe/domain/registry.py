"""The registry: every expert of the catalogue, by id, with a digest that names this exact set."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from crew_moe.domain.digest import digest
from crew_moe.domain.expert import Expert
from crew_moe.errors import UnknownExpert


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Experts in the order of their ids; `registry[expert_id]` raises UnknownExpert with the closest match."""

    experts: tuple[Expert, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "experts", tuple(sorted(self.experts, key=lambda expert: expert.expert_id)))

    @cached_property
    def by_id(self) -> Mapping[str, Expert]:
        return {expert.expert_id: expert for expert in self.experts}

    @cached_property
    def providers(self) -> tuple[str, ...]:
        return tuple(sorted({expert.provider for expert in self.experts}))

    @cached_property
    def digest(self) -> str:
        """16 hex digits that name the whole catalogue, by its canonical JSON."""
        rows = [_plain(asdict(expert)) for expert in self.experts]
        text = json.dumps(rows, sort_keys=True, separators=(",", ":"))
        return digest(text, size=8).hex()

    def __getitem__(self, expert_id: str) -> Expert:
        found = self.by_id.get(expert_id)
        if found is None:
            raise UnknownExpert(expert_id, self.by_id)
        return found

    def __contains__(self, expert_id: object) -> bool:
        return expert_id in self.by_id

    def __iter__(self) -> Iterator[Expert]:
        return iter(self.experts)

    def __len__(self) -> int:
        return len(self.experts)


def _plain(value: Any) -> Any:
    """JSON-ready twin of a frozen value; sets become sorted lists."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(str(item) for item in value)
    return value if isinstance(value, bool | int | float | None) else str(value)
