"""The registry: experts of the catalogue and registered services by id, with a digest that names this exact set."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from crew_moe.domain.digest import digest
from crew_moe.domain.expert import Expert
from crew_moe.domain.service import Service
from crew_moe.errors import UnknownExpert

MAX_FORMER: Final = 100


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Experts in the order of their ids; `registry[expert_id]` raises UnknownExpert with the closest match.

    `services` are those experts that registered while the router ran. Of `former` ones, which have left, only calls
    that are under way still speak: they are found by their id, and stand in no list.
    """

    experts: tuple[Expert, ...]
    services: tuple[Service, ...] = ()
    former: Mapping[str, Expert] = field(default_factory=dict, repr=False, compare=False)

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
        rows += [[one.service_id, one.tenant, str(one.protocol)] for one in self.services]
        text = json.dumps(rows, sort_keys=True, separators=(",", ":"))
        return digest(text, size=8).hex()

    @cached_property
    def limited(self) -> bool:
        """Whether the limits of any expert are known."""
        return any(expert.limits.known for expert in self.experts)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every id that anybody may be told of: all but those of services that serve one tenant alone."""
        return self.seen_by(None)

    def seen_by(self, tenant: str | None) -> tuple[str, ...]:
        """The ids that this tenant may be told of; None: that anybody may be."""
        return tuple(expert.expert_id for expert in self.shown_to(tenant))

    def shown_to(self, tenant: str | None) -> Registry:
        """The same without services that serve other tenants alone: itself where there are none."""
        owner = tenant if any(one.tenant == tenant for one in self.services) else None
        shown = tuple(one for one in self.services if one.serves(owner))
        if len(shown) == len(self.services):
            return self
        if owner not in self._shown:
            hidden = {one.service_id for one in self.services} - {one.service_id for one in shown}
            experts = tuple(expert for expert in self.experts if expert.expert_id not in hidden)
            self._shown[owner] = Registry(experts=experts, services=shown)
        return self._shown[owner]

    @cached_property
    def _shown(self) -> dict[str | None, Registry]:
        return {}

    def takes_chats(self, expert_id: str) -> bool:
        """Whether chats may go there, so that it is a model to those who ask for one."""
        return expert_id in self and all(one.is_chat or one.service_id != expert_id for one in self.services)

    def hides(self, expert_id: str, tenant: str | None) -> bool:
        """Whether it is a service that this tenant is not to be told of."""
        return any(one.service_id == expert_id and not one.serves(tenant) for one in self.services)

    def serving(self, services: Sequence[Service]) -> Registry:
        """The same catalogue with these services instead; where both have an id, it means the catalogue's expert.

        Weights apart, the same services make the same registry: itself.
        """
        own = {one.service_id for one in self.services}
        catalogue = tuple(expert for expert in self.experts if expert.expert_id not in own)
        known = {expert.expert_id for expert in catalogue}
        joined = tuple(one for one in services if one.service_id not in known)
        if _lasting(joined) == _lasting(self.services):
            return self
        experts = (*catalogue, *(one.as_expert() for one in joined))
        present = {expert.expert_id for expert in experts}
        gone = {**self.former, **{name: self.by_id[name] for name in own}}
        left = [(name, expert) for name, expert in gone.items() if name not in present]
        return Registry(experts=experts, services=joined, former=dict(left[-MAX_FORMER:]))

    def __getitem__(self, expert_id: str) -> Expert:
        found = self.by_id.get(expert_id) or self.former.get(expert_id)
        if found is None:
            raise UnknownExpert(expert_id, self.names)
        return found

    def __contains__(self, expert_id: object) -> bool:
        return expert_id in self.by_id

    def __iter__(self) -> Iterator[Expert]:
        return iter(self.experts)

    def __len__(self) -> int:
        return len(self.experts)


def _lasting(services: Sequence[Service]) -> list[Service]:
    return [replace(one, weight=1.0) for one in services]


def _plain(value: Any) -> Any:
    """JSON-ready twin of a frozen value; sets become sorted lists."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(str(item) for item in value)
    return value if isinstance(value, bool | int | float | None) else str(value)
