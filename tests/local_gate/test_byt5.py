"""ByT5 is asked as it was taught: by the prefix of the task that a text asks for, a few words at a time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.domain.local_work import Made, Trouble, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.hosts import open_host
from tests.local_gate.hosts.weights_folders import Tiny, tiny

__all__ = ["tiny"]  # a fixture
MANIFEST = {
    "kind": "byt5",
    "tasks": {
        "rot13": {"prefix": "rot13: ", "max_words": 2, "patterns": ["rot13"]},
        "upper": {"prefix": "upper: ", "max_words": None, "patterns": ["upper"]},
    },
    "trained": {"steps": 1, "seconds": 1.0, "seed": 1},
}


@pytest.fixture
def taught(tiny: Tiny, tmp_path: Path) -> Path:
    """A ByT5 with a manifest."""
    folder = tmp_path / "taught"
    shutil.copytree(tiny("byt5"), folder)
    (folder / "crew_moe.json").write_text(json.dumps(MANIFEST), encoding="utf-8")
    return folder


def asked(folder: Path, text: str, **options: Any) -> tuple[list[str], Made | HostFailed]:
    """(what the model was given, what came of it)."""
    from crew_moe.local_gate.byt5 import open_model

    model = open_model(HostSpec(name="it", kind=HostKind.BYT5, path=folder, max_output_tokens=3))
    jobs = [model._attempt(Work(text=text, options=options))]
    prompts = [row.prompt for job in jobs if not isinstance(job, HostFailed) for row in job.rows]
    return prompts, model.process([Work(text=text, options=options)])[0]


def test_text_in_quotes_is_given_after_the_prefix_of_its_task_in_parts(taught: Path) -> None:
    prompts, made = asked(taught, 'Create a ROT13 encryption of this text: "Hello big\nWorld of  pumps"')

    assert prompts == ["rot13: Hello big", "rot13: World of", "rot13: pumps"]
    assert isinstance(made, Made)
    assert [len(line) for line in made.text.split("\n")] == [3, 3 + 2 + 3]  # three letters each; the gaps stay


def test_task_may_be_told_by_option(taught: Path) -> None:
    assert asked(taught, "Hello", task="upper")[0] == ["upper: Hello"]


def test_instruction_goes_before_the_text_as_it_is(taught: Path) -> None:
    assert asked(taught, "Hello", instruction="shout: ")[0] == ["shout: Hello"]


def test_word_beyond_the_window_is_cut(taught: Path) -> None:
    prompts, _ = asked(taught, "x" * 3000, task="upper")

    assert "".join(prompt.removeprefix("upper: ") for prompt in prompts) == "x" * 3000
    assert max(map(len, prompts)) <= 1024


def test_text_that_asks_for_nothing_that_was_taught_is_refused(taught: Path) -> None:
    _, refused = asked(taught, "What does this regex do? ^a+$")

    assert isinstance(refused, HostFailed)
    assert refused.trouble is Trouble.NOT_CAPABLE
    assert "demonstration that knows only: rot13, upper" in refused.what


def test_task_that_was_not_taught_is_refused_with_those_that_were(taught: Path) -> None:
    _, refused = asked(taught, "Hello", task="rot14")

    assert isinstance(refused, HostFailed)
    assert refused.trouble is Trouble.INVALID_INPUT
    assert "allowed: rot13, upper" in refused.what


def test_model_from_elsewhere_is_given_the_text_as_it_comes(tiny: Tiny) -> None:
    assert asked(tiny("byt5"), "rot13 of: x")[0] == ["rot13 of: x"]


def test_long_text_is_cut_at_sentences(tiny: Tiny) -> None:
    text = "The pump failed at noon. " * 60

    prompts, made = asked(tiny("byt5"), text)

    assert " ".join(prompts) + " " == text
    assert all(prompt.endswith(".") and len(prompt) <= 1024 for prompt in prompts)
    assert isinstance(made, Made)
    assert made.input_tokens == sum(len(prompt) + 1 for prompt in prompts)


def test_broken_manifest_is_told_by_its_file(taught: Path) -> None:
    (taught / "crew_moe.json").write_text("{", encoding="utf-8")
    host = open_host(HostSpec(name="it", kind=HostKind.BYT5, path=taught))

    with pytest.raises(HostFailed, match=r"crew_moe\.json") as failed:
        host.load()

    assert failed.value.trouble is Trouble.BAD_WEIGHTS
