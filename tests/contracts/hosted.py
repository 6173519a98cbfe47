"""The hosts that the contract suite holds: each by a function that opens one anew, cold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.local_gate.hosts import open_host
from crew_moe.ports import Host
from tests.local_gate.remote.servers import playing

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


REMOTE: Final = ("vllm", "ollama")
"""Kinds that are asked for embeddings in different words; they are one host but for that."""


def spec(name: str, kind: str, **told: Any) -> HostSpec:
    return HostSpec(name=name, kind=HostKind(kind), max_input_chars=MOST_CHARS, max_output_tokens=MOST_TOKENS, **told)


@pytest.fixture(scope="session")
def experts_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the module of an expert of the user's own."""
    folder = tmp_path_factory.mktemp("experts")
    (folder / "shouting_expert.py").write_text(SIMPLE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=["extractive", "python", *WEIGHTS, *REMOTE])
def opened(request: pytest.FixtureRequest) -> Iterator[Opened]:
    """Opens a host of one kind."""
    name: str = request.param
    if name in REMOTE:
        with playing(HostKind(name), loaded={"tiny"}) as played:
            yield lambda: open_host(spec(name, name, base_url=played.url, model="tiny"))
    elif name == "extractive":
        yield lambda: open_host(spec(name, name))
    elif name == "python":
        folder: Path = request.getfixturevalue("experts_folder")
        yield lambda: open_host(spec(name, name, path=folder, class_path="shouting_expert:Shouting"))
    else:
        weights: Path = request.getfixturevalue("tiny")(name)
        yield lambda: open_host(spec(name, WEIGHTS[name], path=weights))


@pytest.fixture(scope="module")
def host(opened: Opened) -> Iterator[Host]:
    """A loaded one, which every test leaves loaded."""
    made = opened()
    made.load()
    yield made
    made.unload()
