"""A host of weights: its model is loaded when asked for, by the class that the spec's kind names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Protocol

from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.domain.local_work import HostHealth, Loaded, Made, Trouble, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.hosts.failures import LIBRARIES, give_memory_back, guarded, missing_extra
from crew_moe.local_gate.hosts.input import complaint_of, each_with
from crew_moe.local_gate.hosts.weights import source, version
from crew_moe.settings import keep_hub_home

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from crew_moe.local_gate.hosts.loading import LoadedModel


class Model(Protocol):
    """What a kind makes of its weights: all that a host does, once they are loaded. May raise anything."""

    @property
    def loaded(self) -> LoadedModel: ...

    def process(self, works: Sequence[Work]) -> Sequence[Made | HostFailed]: ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]: ...

    def stream(self, work: Work) -> Iterator[str]: ...


MODELS: Final[Mapping[HostKind, str]] = {
    HostKind.BYT5: "crew_moe.local_gate.byt5",
    HostKind.LONGFORMER: "crew_moe.local_gate.longformer",
    HostKind.CLASSIFIER: "crew_moe.local_gate.classifier",
    HostKind.CODET5: "crew_moe.local_gate.codet5",
}
"""The module whose `open_model(spec)` gives the Model of a kind. Only loading imports it: it needs torch."""


class WeightsHost:
    """Implements ports.Host over a model loaded through transformers."""

    takes_chats: Final = False
    concurrent: Final = 1

    def __init__(self, spec: HostSpec) -> None:
        self._spec = spec
        self._model: Model | None = None
        self._version = ""

    @property
    def name(self) -> str:
        return self._spec.name

    @property
    def version(self) -> str:
        return self._version

    def load(self) -> None:
        if self._model is None:
            self._model = guarded(self._open)

    def process(self, works: Sequence[Work]) -> Sequence[Made | HostFailed]:
        model = self._ready()
        return each_with(self._spec, works, lambda fine: guarded(lambda: model.process(fine)))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        model = self._ready()
        for text in texts:
            refused = complaint_of(self._spec, text)
            if refused is not None:
                raise refused
        return guarded(lambda: model.embed(texts))

    def stream(self, work: Work) -> Iterator[str]:
        model = self._ready()
        refused = complaint_of(self._spec, work.text)
        if refused is not None:
            raise refused
        pieces = guarded(lambda: model.stream(work))
        try:
            while (piece := guarded(lambda: next(pieces, None))) is not None:
                yield piece
        finally:
            getattr(pieces, "close", lambda: None)()

    def health(self) -> HostHealth:
        model = self._model  # which may go meanwhile
        if model is not None:
            loaded = model.loaded
            return HostHealth(
                name=self.name,
                state=Loaded.READY,
                version=self._version,
                device=str(loaded.device),
                memory_bytes=loaded.memory_bytes,
            )
        wrong = self._why_not()
        if wrong is None:
            return HostHealth(name=self.name, state=Loaded.COLD)
        return HostHealth(name=self.name, state=Loaded.FAILED, trouble=wrong.trouble, what=wrong.what)

    def unload(self) -> None:
        if self._model is not None:
            self._model = None
            self._version = ""
            give_memory_back()

    def _open(self) -> Model:
        keep_hub_home()
        source(self._spec)  # before torch is imported: what isn't there is said at once
        model: Model = import_module(MODELS[self._spec.kind]).open_model(self._spec)
        loaded = model.loaded
        self._version = version(self._spec, folder=self._spec.path, commit=loaded.commit, dtype=loaded.dtype)
        model.process([Work(text="warm up", max_output_tokens=2)])
        return model

    def _ready(self) -> Model:
        if self._model is None:
            raise HostFailed(Trouble.UNAVAILABLE, f"'{self.name}' is not loaded")
        return self._model

    def _why_not(self) -> HostFailed | None:
        """What would keep it from loading, as far as that can be seen without loading."""
        absent = next((module for module in LIBRARIES if find_spec(module) is None), None)
        if absent is not None:
            return missing_extra("local", absent)
        try:
            source(self._spec)
        except HostFailed as error:
            return error
        except OSError as error:
            return HostFailed(Trouble.BAD_WEIGHTS, f"the model's files can't be read ({error.strerror})")
        return None
