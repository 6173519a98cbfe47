"""Opens a hosted expert by its kind. Nothing is loaded by it, and no library but this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Final

from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.ports import Host

_WEIGHTS: Final = "crew_moe.local_gate.hosts.weights_host:WeightsHost"
_REMOTE: Final = "crew_moe.local_gate.remote:open_remote"
OPENERS: Final[Mapping[HostKind, str]] = {
    HostKind.EXTRACTIVE: "crew_moe.local_gate.extractive.host:ExtractiveHost",
    HostKind.PYTHON: "crew_moe.local_gate.python_host:open_python",
    **{kind: _WEIGHTS for kind in HostKind if kind.has_weights},
    **{kind: _REMOTE for kind in HostKind if kind.is_remote},
}
"""`module:function` that makes a Host of a HostSpec, by kind."""


def open_host(spec: HostSpec) -> Host:
    """The host that a spec describes, cold: `load` gets it ready."""
    module, _, name = OPENERS[spec.kind].partition(":")
    opener: Callable[[HostSpec], Host] = getattr(import_module(module), name)
    return opener(spec)
