"""What a model does wrong is told by its kind, and never in the words of the text."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

import pytest

from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.domain.local_work import Made, Trouble, Work
from crew_moe.errors import HostFailed, MissingExtra
from crew_moe.local_gate.hosts import open_host
from crew_moe.local_gate.hosts.failures import guarded
from crew_moe.local_gate.hosts.weights_host import WeightsHost
from tests.local_gate.hosts.weights_folders import Tiny, tiny

__all__ = ["tiny"]  # a fixture
SECRET = "zanzibar"


class OutOfMemoryError(RuntimeError):
    """As torch's, which is a RuntimeError too."""


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (MemoryError(), Trouble.OUT_OF_MEMORY),
        (OutOfMemoryError(f"CUDA out of memory. {SECRET}"), Trouble.OUT_OF_MEMORY),
        (RuntimeError(f"DefaultCPUAllocator: not enough memory: you tried to {SECRET}"), Trouble.OUT_OF_MEMORY),
        (MissingExtra("local", "torch"), Trouble.MISSING_EXTRA),
        (ModuleNotFoundError("No module named 'torch'", name="torch._C"), Trouble.MISSING_EXTRA),
        (ModuleNotFoundError(SECRET, name="something"), Trouble.MODEL_FAILED),
        (RuntimeError(SECRET), Trouble.MODEL_FAILED),
        (KeyError(SECRET), Trouble.MODEL_FAILED),
        (HostFailed(Trouble.NOT_CAPABLE, "no"), Trouble.NOT_CAPABLE),
    ],
)
def test_error_becomes_a_trouble_without_its_words(error: Exception, trouble: Trouble) -> None:
    def call() -> None:
        raise error

    with pytest.raises(HostFailed) as failed:
        guarded(call)

    assert failed.value.trouble is trouble
    assert SECRET not in str(failed.value)
    assert failed.value.__context__ is None  # whose traceback would hold the text and the tensors


def test_failure_of_a_model_is_told_with_its_file_and_line() -> None:
    def call() -> None:
        raise ValueError(SECRET)

    with pytest.raises(HostFailed) as failed:
        guarded(call)

    line = call.__code__.co_firstlineno + 1
    assert failed.value.what == f"the model failed (ValueError in test_failures.py, line {line})"


def test_module_that_can_not_be_read_is_told_with_its_own_line() -> None:
    with pytest.raises(HostFailed) as failed:
        guarded(lambda: compile(f"ok = 1\n{SECRET}(", "/somewhere/mine.py", "exec"))

    assert failed.value.what == "the model failed (SyntaxError in mine.py, line 2)"


def test_failed_call_keeps_nothing_alive() -> None:
    class Tensor:
        """Something large."""

    kept: list[weakref.ref[Tensor]] = []

    def call() -> None:
        tensor = Tensor()
        kept.append(weakref.ref(tensor))
        raise RuntimeError(SECRET)

    with pytest.raises(HostFailed) as failed:
        guarded(call)

    gc.collect()
    assert failed.value.trouble is Trouble.MODEL_FAILED
    assert kept[0]() is None


def loaded(tiny: Tiny) -> WeightsHost:
    host = open_host(HostSpec(name="it", kind=HostKind.CODET5, path=tiny("codet5"), max_output_tokens=4))
    assert isinstance(host, WeightsHost)
    host.load()
    return host


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (RuntimeError(f"[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: {SECRET}"), None),
        (ValueError(SECRET), Trouble.MODEL_FAILED),
    ],
)
def test_model_that_raises_is_told_and_works_again(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, error: Exception, trouble: Trouble | None
) -> None:
    host = loaded(tiny)

    def fails(*_: Any, **__: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("crew_moe.local_gate.hosts.seq2seq.generate", fails)
        patch.setattr("crew_moe.local_gate.hosts.seq2seq.stream", fails)
        for ask in (lambda: host.process([Work(text=SECRET)]), lambda: list(host.stream(Work(text=SECRET)))):
            with pytest.raises(HostFailed) as failed:
                ask()
            assert failed.value.trouble is (trouble or Trouble.OUT_OF_MEMORY)
            assert SECRET not in str(failed.value)

    assert isinstance(host.process([Work(text="x")])[0], Made)


def test_memory_that_torch_cannot_get_is_told_and_the_host_goes_on(tiny: Tiny) -> None:
    """A real allocation that fails: more rows than there is memory for."""
    import torch

    host = loaded(tiny)

    with pytest.raises(HostFailed) as failed:
        guarded(lambda: torch.empty(2**50, dtype=torch.uint8))

    assert failed.value.trouble is Trouble.OUT_OF_MEMORY
    assert isinstance(host.process([Work(text="x")])[0], Made)


def test_missing_library_is_told_by_loading_and_by_health(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    host = open_host(HostSpec(name="it", kind=HostKind.CODET5, path=tiny("codet5")))
    monkeypatch.setattr("crew_moe.local_gate.hosts.weights_host.find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "crew_moe.local_gate.codet5", raising=False)
    monkeypatch.delitem(sys.modules, "crew_moe.local_gate.hosts.loading", raising=False)

    with pytest.raises(HostFailed) as failed:
        host.load()

    assert failed.value.trouble is host.health().trouble is Trouble.MISSING_EXTRA
    assert failed.value.next_steps == ("pip install 'crew-moe[local]'",)
