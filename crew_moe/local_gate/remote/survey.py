"""What a server tells of itself: which models it has, which are in memory, and how many requests wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from crew_moe.domain.local_work import Loaded, Trouble
from crew_moe.errors import HostFailed
from crew_moe.local_gate.remote.apis import Api, Listed
from crew_moe.local_gate.remote.gauge import gauge
from crew_moe.local_gate.remote.server import Server, read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The models of a server, and what of its build answers depend on; `loading`: it is up, its model not there yet."""

    models: tuple[Listed, ...] = ()
    build: str = ""
    loading: bool = False

    @property
    def loaded(self) -> tuple[str, ...]:
        """The names of the models in memory."""
        return tuple(model.name for model in self.models if model.loaded)


def survey(server: Server, api: Api) -> Survey:
    """Ask the server what it has. Raises HostFailed where it can't be reached or isn't well."""
    if api.alive and not _ready(server, api):
        return Survey(loading=True)
    models = tuple(api.listed(_page(server, api.models)))
    if api.running:
        running = _names(api, _optional(server, api.running))
        models = tuple(replace(model, loaded=model.name in running) for model in models)
    told = _optional(server, api.build) if api.build else {}
    build = " ".join(str(told[name]) for name in api.build_fields if told.get(name))
    return Survey(models=models, build=build)


def pick(found: Survey, wanted: str | None, *, api: Api, at: str) -> Listed:
    """The model of that name, or the only one where none is named. Raises HostFailed, mostly missing_weights."""
    if found.loading:
        raise HostFailed(Trouble.UNAVAILABLE, f"the server at {at} is loading its model", next_steps=("try again",))
    if wanted is None:
        if len(found.models) == 1:
            return found.models[0]
        what = f"the server at {at} has {len(found.models)} models, and none is named"
    else:
        for model in found.models:
            if model.name in (wanted, f"{wanted}{api.default_tag}"):
                return model
        what = f"the server at {at} has no model '{wanted}'"
    names = ", ".join(sorted(model.name for model in found.models)) or "none"
    raise HostFailed(
        Trouble.MISSING_WEIGHTS,
        f"{what}; it has: {names}",
        next_steps=("put one of these under `model`, or let the server load it",),
    )


def waiting(server: Server, api: Api, models: tuple[Listed, ...]) -> int | None:
    """How many requests wait in the server; None where it does not tell.

    Never asked of a server that loads models as they are asked for: llama.cpp's would load one to answer.
    """
    if not api.queue or any(model.managed for model in models):
        return None
    try:
        return gauge(server.look("/metrics").decode("utf-8", errors="replace"), api.queue)
    except HostFailed:
        return None


def state(model: Listed) -> Loaded:
    """Where the model is, as far as the server tells."""
    return Loaded.COLD if model.loaded is False else Loaded.READY


def _ready(server: Server, api: Api) -> bool:
    """Whether it is well; False while it loads. Raises HostFailed where it is not."""
    try:
        server.look(api.alive)
        return True
    except HostFailed as failure:
        if failure.trouble is not Trouble.OVERLOADED:
            raise
    if api.starts_busy:
        return False
    raise HostFailed(
        Trouble.UNAVAILABLE, f"the server at {server.shown} is up, and not well", next_steps=("see its log",)
    )


def _page(server: Server, path: str) -> Any:
    return read_json(server.look(path), at=server.shown)


def _optional(server: Server, path: str) -> Mapping[str, Any]:
    """What this path tells, or nothing: it is not there in every version."""
    try:
        told = _page(server, path)
    except HostFailed:
        return {}
    return told if isinstance(told, Mapping) else {}


def _names(api: Api, told: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(model.name for model in api.listed(told))
