"""Fixtures of tiny models, each made once in a test run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Tiny = Callable[[str], Path]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiny]:
    """The folder of a tiny model by its name; a test that needs one is skipped where there is no torch."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("transformers", reason="transformers is not installed")
    from tests.local_gate.hosts.tiny_models import MAKERS

    made: dict[str, Path] = {}
    root = tmp_path_factory.mktemp("models")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = MAKERS[name](root / name)
        return made[name]

    yield folder
    torch.set_num_threads(threads)
