"""The hosts that the contract suite holds: each by a function that opens one anew, cold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.local_gate.hosts import open_host
from crew_moe.ports import Host

Opened = Callable[[], Host]
MOST_CHARS: Final = 400
MOST_TOKENS: Final = 8

SIMPLE: Final = """
class Shouting:
    def process(self, text):
        return text.upper()

    def embed(self, text):
        return [len(text), text.count(" "), 1.0]
"""
WEIGHTS: Final = {"byt5": "byt5", "codet5": "codet5", "led": "longformer", "classifier": "classifier"}
"""The kind of host for each kind of tiny model."""


def spec(name: str, kind: str, *, path: Path | None = None, class_path: str | None = None) -> HostSpec:
    return HostSpec(
        name=name,
        kind=HostKind(kind),
        path=path,
        class_path=class_path,
        max_input_chars=MOST_CHARS,
        max_output_tokens=MOST_TOKENS,
    )


@pytest.fixture(scope="session")
def experts_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the module of an expert of the user's own."""
    folder = tmp_path_factory.mktemp("experts")
    (folder / "shouting_expert.py").write_text(SIMPLE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=["extractive", "python", *WEIGHTS])
def opened(request: pytest.FixtureRequest) -> Opened:
    """Opens a host of one kind."""
    name: str = request.param
    if name == "extractive":
        return lambda: open_host(spec(name, name))
    if name == "python":
        folder: Path = request.getfixturevalue("experts_folder")
        return lambda: open_host(spec(name, name, path=folder, class_path="shouting_expert:Shouting"))
    weights: Path = request.getfixturevalue("tiny")(name)
    return lambda: open_host(spec(name, WEIGHTS[name], path=weights))


@pytest.fixture(scope="module")
def host(opened: Opened) -> Iterator[Host]:
    """A loaded one, which every test leaves loaded."""
    made = opened()
    made.load()
    yield made
    made.unload()
