"""`crew-moe local new-expert`: the beginnings of a hosted expert of one's own, with tests that pass."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from crew_moe.cli.options import AsJson
from crew_moe.cli.output import harmless, say, write_json
from crew_moe.errors import ConfigError, InvalidInput

LOCAL_FILE: Final = "local.yaml"
LONGEST: Final = 60
TAKEN: Final = ("auto", "byt5", "extractive", "longformer")

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")

_EXPERT: Final = '''"""The hosted expert `{name}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class {class_name}:
    """What the local gate calls. It is made once, without arguments, and asked by one thread at a time.

    `load` and `unload` are for what takes time and memory: read a model's weights in `load`, not in `__init__`.
    `process` may leave out `options`; `embed` may be left out altogether.
    """

    version = "1"  # change it with everything that changes the answers: remembered ones are forgotten then

    def load(self) -> None:
        self.model = str.upper

    def process(self, text: str, options: Mapping[str, Any]) -> str:
        answer = self.model(text)
        return answer + "!" if options.get("loud") else answer

    def embed(self, text: str) -> list[float]:
        return [float(text.count(letter)) for letter in "aeiou"] + [1.0]

    def unload(self) -> None:
        del self.model
'''

_TESTS: Final = '''"""The expert `{name}` alone, and behind the local gate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from {module} import {class_name}

from crew_moe.catalog.local import load_local
from crew_moe.domain.local_work import Asked, LocalTask
from crew_moe.local_gate.serving import LocalGate

FOLDER = Path(__file__).parent


@pytest.fixture
def expert() -> Iterator[{class_name}]:
    made = {class_name}()
    made.load()
    yield made
    made.unload()


@pytest.fixture
def gate() -> Iterator[LocalGate]:
    """The local gate as the local.yaml in this folder describes it."""
    opened = LocalGate.open(load_local(FOLDER))
    yield opened
    opened.close()


def test_answers_a_text(expert: {class_name}) -> None:
    assert expert.process("hello", {{}}) == "HELLO"


def test_option_changes_the_answer(expert: {class_name}) -> None:
    assert expert.process("hello", {{"loud": True}}) == "HELLO!"


def test_embeddings_are_of_one_size(expert: {class_name}) -> None:
    assert len(expert.embed("hello")) == len(expert.embed(""))


def test_local_gate_serves_it(gate: LocalGate) -> None:
    answer = gate.call(Asked(text="hello", expert="{name}"))

    assert answer.ok, answer
    assert (answer.expert_used, answer.result) == ("{name}", "HELLO")


def test_local_gate_embeds_with_it(gate: LocalGate) -> None:
    answer = gate.call(Asked(text="hello", expert="{name}", task=LocalTask.EMBED))

    assert answer.ok, answer
    assert len(answer.result) == 6


def test_gate_knows_it() -> None:
    assert load_local(FOLDER).hosts["{name}"].examples
'''

_ENTRY: Final = """\
  {name}:
    kind: python
    class: {module}:{class_name}
    path: .              # the folder of the module, from here
    examples:            # what the gate learns it by: five or more texts as your users write them
      - Please shout this at them
      - Shout it out in capital letters
      - Make this sentence loud
      - Turn the following words into capitals and shout
      - I want that shouted
    options: {{}}          # the expert's own words, with every call that has none of its own
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("new-expert")(new_expert)


def new_expert(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called in local.yaml and as a model.")],
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where to write it; made if absent.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Write a hosted expert of your own: a class, tests that pass, and its entry in local.yaml. Overwrites nothing."""
    files = _files(_checked(name), has_local=(folder / LOCAL_FILE).exists())
    entry = _filled(_ENTRY, name)
    _write(folder, files)
    written = [str(folder / file) for file in files]
    if as_json:
        write_json({"name": name, "written": written, "entry": entry})
        return
    lines = ["Written:", *(f"  {path}" for path in written)]
    if LOCAL_FILE not in files:
        lines += [f"To be added under `experts:` in {folder / LOCAL_FILE}, which is left as it is:", entry.rstrip()]
    sys.stdout.write(harmless("\n".join(lines)) + "\n")  # not wrapped: it is to be copied
    say(f"To test it: python -m pytest {folder}")
    say(f"To serve it: crew-moe local serve --config {folder}")


def _checked(name: str) -> str:
    if name in TAKEN:
        raise InvalidInput(f"'{name}' is taken", where="NAME", allowed=("any other name",))
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        raise InvalidInput(
            f"'{name[:LONGEST]}' is no name for an expert",
            where="NAME",
            allowed=(
                f"up to {LONGEST} lower-case letters and digits, with single - or _ between them, a letter first",
            ),
        )
    return name


def _files(name: str, *, has_local: bool) -> Mapping[str, str]:
    """Contents by file; an existing local.yaml is its owner's."""
    module = _names(name)["module"]
    files = {f"{module}.py": _filled(_EXPERT, name), f"test_{module}.py": _filled(_TESTS, name)}
    return files if has_local else {**files, LOCAL_FILE: "experts:\n" + _filled(_ENTRY, name)}


def _filled(template: str, name: str) -> str:
    return template.format(**_names(name))


def _names(name: str) -> dict[str, str]:
    words = re.split("[-_]", name)
    return {
        "name": name,
        "module": "_".join((*words, "expert")),  # never a keyword, nor a module of Python's own
        "class_name": "".join(word.capitalize() for word in (*words, "expert")),
    }


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """All files, or none where one is there already. Raises ConfigError."""
    taken = next((folder / file for file in files if (folder / file).exists()), None)
    if taken is not None:
        raise ConfigError("is there already; nothing was written", file=str(taken))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            with (folder / file).open("x", encoding="utf-8", newline="\n") as new:
                new.write(content)
    except OSError as error:
        raise ConfigError(f"can't be written ({error.strerror})", file=str(error.filename)) from error
