"""An expert of the user's own: a class, named by `class: module:Class` or by an entry point of `crew_moe.hosts`.

A class with all of ports.Host is made with its HostSpec and used as it is. A simple one is made without arguments and
has `process(text) -> str` (seed 003: `process_with_checkpointing`), which may also take `options`; if it likes
`embed(text)`, numbers in a row (seed 003: `get_embeddings`), `load()`, `unload()` and `stream(text)`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from importlib import import_module, reload
from importlib.metadata import entry_points
from inspect import Parameter, getsourcefile, signature
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.domain.hosting import HostSpec
from crew_moe.domain.local_work import HostHealth, Loaded, Made, Trouble, Work
from crew_moe.errors import HostFailed, closest
from crew_moe.local_gate.extractive.tokens import cut_to_tokens, estimate_tokens
from crew_moe.local_gate.hosts.failures import give_memory_back, guarded
from crew_moe.local_gate.hosts.input import complaint_of, each_with, merged_options
from crew_moe.local_gate.hosts.weights import version
from crew_moe.ports import Host

GROUP: Final = "crew_moe.hosts"
PROCESS: Final = ("process", "process_with_checkpointing")
EMBED: Final = ("embed", "get_embeddings")
WHOLE: Final = (
    "name",
    "version",
    "takes_chats",
    "concurrent",
    "load",
    "process",
    "embed",
    "stream",
    "health",
    "unload",
)

_read: dict[str, str] = {}
"""Digests of the modules that experts came from, as they were when they were read."""


def open_python(spec: HostSpec) -> PythonHost:
    """The host of the spec's class; nothing is imported yet."""
    return PythonHost(spec)


class PythonHost:
    """Implements ports.Host over a class of the user's. What it needs of memory is what the spec says."""

    def __init__(self, spec: HostSpec) -> None:
        self._spec = spec
        self._expert: Any = None
        self._host: Host | None = None
        self._version = ""

    @property
    def name(self) -> str:
        return self._spec.name

    @property
    def version(self) -> str:
        return self._version

    @property
    def takes_chats(self) -> bool:
        return self._host is not None and self._host.takes_chats

    @property
    def concurrent(self) -> int:
        return self._host.concurrent if self._host is not None else int(getattr(self._expert, "concurrent", 1))

    def load(self) -> None:
        if self._expert is None:
            self._expert = guarded(self._open)

    def process(self, works: Sequence[Work]) -> Sequence[Made | HostFailed]:
        expert = self._ready()
        if self._host is not None:
            return each_with(self._spec, works, lambda fine: guarded(lambda: expert.process(fine)))
        return each_with(self._spec, works, lambda fine: [self._answer(work) for work in fine])

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        expert = self._ready()
        for text in texts:
            refused = complaint_of(self._spec, text)
            if refused is not None:
                raise refused
        if self._host is not None:
            rows: NDArray[np.float32] = guarded(lambda: expert.embed(texts))
            return rows
        embed = _method(expert, EMBED)
        if embed is None:
            raise HostFailed(Trouble.NOT_CAPABLE, f"'{self.name}' makes no embeddings: its class has no `embed(text)`")
        return guarded(lambda: np.stack([_row(embed(text)) for text in texts]).astype(np.float32))

    def stream(self, work: Work) -> Iterator[str]:
        expert = self._ready()
        refused = complaint_of(self._spec, work.text)
        if refused is not None:
            raise refused
        own = getattr(expert, "stream", None)
        if own is None:
            made = self._answer(work)
            if isinstance(made, HostFailed):
                raise made
            yield made.text
            return
        pieces = guarded(lambda: iter(own(work if self._host is not None else work.text)))
        try:
            while (piece := guarded(lambda: next(pieces, None))) is not None:
                yield piece
        finally:
            getattr(pieces, "close", lambda: None)()

    def health(self) -> HostHealth:
        if self._host is not None:
            return guarded(self._host.health)
        state = Loaded.READY if self._expert is not None else Loaded.COLD
        memory = int((self._spec.memory_mb or 0) * 2**20) if self._expert is not None else 0
        return HostHealth(name=self.name, state=state, version=self._version, device="cpu", memory_bytes=memory)

    def unload(self) -> None:
        expert, self._expert, self._host, self._version = self._expert, None, None, ""
        unload = getattr(expert, "unload", None)
        if unload is not None:
            guarded(unload)
        give_memory_back()

    def _open(self) -> Any:
        made = _class_of(self._spec)
        whole = all(hasattr(made, name) for name in WHOLE)
        if not whole and _method(made, PROCESS) is None:
            raise _no_expert(f"the class of '{self.name}' has no `process(text)`")
        expert = made(self._spec) if whole else made()
        getattr(expert, "load", lambda: None)()
        self._host = expert if whole else None
        own = str(getattr(expert, "version", "") or _digest_of(made))
        self._version = own if whole else version(self._spec, commit=own)
        return expert

    def _ready(self) -> Any:
        if self._expert is None:
            raise HostFailed(Trouble.UNAVAILABLE, f"'{self.name}' is not loaded")
        return self._expert

    def _answer(self, work: Work) -> Made | HostFailed:
        try:
            whole = self._whole(work)
        except HostFailed as error:
            return error.with_traceback(None)
        most = min(work.max_output_tokens or self._spec.max_output_tokens, self._spec.max_output_tokens)
        text = cut_to_tokens(whole, most)
        return Made(
            text=text,
            input_tokens=estimate_tokens(work.text),
            output_tokens=estimate_tokens(text),
            finish_reason="stop" if text == whole else "length",
        )

    def _whole(self, work: Work) -> str:
        process = _method(self._ready(), PROCESS)
        assert process is not None  # noqa: S101 - `load` has seen it
        if _takes_options(process):
            options = {**self._spec.options, **work.options}
            answer = guarded(lambda: process(work.text, options=options))
        else:
            merged_options(self._spec, work.options, {})
            answer = guarded(lambda: process(work.text))
        if not isinstance(answer, str):
            raise HostFailed(Trouble.MODEL_FAILED, f"'{self.name}' answered no text but {type(answer).__name__}")
        return answer


def _class_of(spec: HostSpec) -> Any:
    """The class that the spec names, its module read again where its file has changed. Raises HostFailed."""
    if spec.class_path is None:
        found = entry_points(group=GROUP)
        if spec.name not in found.names:
            near = closest(spec.name, found.names)
            hint = f"; did you mean '{near}'?" if near else ""
            raise _no_expert(f"no installed package offers an expert '{spec.name}' ({GROUP}){hint}")
        return _imported(lambda: found[spec.name].load(), spec.name)
    module_name, _, class_name = spec.class_path.partition(":")
    if spec.path is not None and str(spec.path) not in sys.path:
        sys.path.append(str(spec.path))
    module = _imported(lambda: _fresh(import_module(module_name)), module_name)
    if not hasattr(module, class_name):
        near = closest(class_name, [name for name in vars(module) if not name.startswith("_")])
        hint = f"; did you mean '{near}'?" if near else ""
        raise _no_expert(f"the module '{module_name}' has no '{class_name[:80]}'{hint}")
    return getattr(module, class_name)


def _imported(load: Callable[[], Any], name: str) -> Any:
    """What is imported; a module that isn't there is the user's to mend, and what it imports may be an extra."""
    try:
        return load()
    except ModuleNotFoundError as error:
        absent = error.name or name
    raise _no_expert(f"the module '{absent}' of '{name}' is not to be found")


def _fresh(module: ModuleType) -> ModuleType:
    digest = _digest_of(module)
    if _read.get(module.__name__, digest) != digest:
        module = reload(module)
    _read[module.__name__] = digest
    return module


def _digest_of(thing: Any) -> str:
    """Of the file that it was read from; "" where there is none."""
    try:
        file = getsourcefile(thing)
    except TypeError:
        file = None
    return sha256(Path(file).read_bytes()).hexdigest() if file is not None and Path(file).is_file() else ""


def _method(thing: Any, names: Sequence[str]) -> Callable[..., Any] | None:
    return next((getattr(thing, name) for name in names if callable(getattr(thing, name, None))), None)


def _takes_options(process: Callable[..., Any]) -> bool:
    parameters = signature(process).parameters
    return "options" in parameters or any(one.kind is Parameter.VAR_KEYWORD for one in parameters.values())


def _row(values: Any) -> NDArray[np.float64]:
    """Numbers in whatever they came (a list, an array, a tensor) as a row of length 1."""
    row = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=np.float64).reshape(-1)
    length = float(np.linalg.norm(row))
    if not np.isfinite(length) or length == 0:
        raise HostFailed(Trouble.MODEL_FAILED, "the embedding holds no numbers but zeros, or some that are not finite")
    return row / length


def _no_expert(what: str) -> HostFailed:
    steps = ("check the expert's `class:`, and give the folder that its module lies in as `path:`",)
    return HostFailed(Trouble.UNAVAILABLE, what, next_steps=steps)
