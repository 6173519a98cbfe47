"""What a crew is given to work on: its folder, the document, and the values for its placeholders."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from crew_moe.catalog.locate import layers, packaged_config, packaged_documents
from crew_moe.cli.options import config_folder
from crew_moe.crew.plan import AGENTS_FILE, TASKS_FILE
from crew_moe.documents import MAX_BYTES, as_text, read_mapping, read_text
from crew_moe.errors import ConfigError, InvalidInput

DOCUMENT: Final = "document"
STDIN: Final = "-"
DEMO_DOCUMENT: Final = "incident-report.md"
DEMO: Final = "demo"  # the folder of what goes wrong in the demonstration, and of what its policy adds
DEMO_SCRIPT: Final = Path(DEMO, "degraded.yaml")
_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_\-]*)\}")  # as CrewAI reads them
_TEXTS: Final = {AGENTS_FILE: ("role", "goal", "backstory"), TASKS_FILE: ("description", "expected_output")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A crew's folder and its inputs. `agents` and `tasks` are its files as they stand; `document` names the file."""

    folder: Path
    agents: Mapping[str, Any]
    tasks: Mapping[str, Any]
    inputs: Mapping[str, str]
    document: str | None

    @property
    def is_demo(self) -> bool:
        return _is_demo(self.folder)

    @property
    def script(self) -> Path | None:
        """What goes wrong in the demonstration; nothing does where somebody runs a crew of their own."""
        return self.folder / DEMO_SCRIPT if self.is_demo else None

    @property
    def rules(self) -> Path:
        """The folder of the catalogue and the policy."""
        return self.folder / DEMO if self.is_demo else self.folder

    def filled(self, text: str) -> str:
        """The text with its placeholders replaced."""
        return _PLACEHOLDER.sub(lambda found: self.inputs.get(found[1], found[0]), text)


def load_material(config: Path | None, document: str | None, given: Sequence[str] = ()) -> Material:
    """Read a crew's files and inputs; without a folder those of the demonstration crew.

    A crew that asks for a document and gets none works on the demonstration's. `document` is a path, or "-" for stdin;
    `given` holds NAME=VALUE. Raises InvalidInput when a placeholder has no value or a value no placeholder.
    """
    folder = config_folder(config) or packaged_config()
    layers(TASKS_FILE, folder)  # says so when there is no such folder
    files = {name: read_mapping(folder / name) for name in (AGENTS_FILE, TASKS_FILE)}
    if not files[TASKS_FILE]:
        raise ConfigError("there is no task in it", file=str(folder / TASKS_FILE))
    wanted = set(_placeholders(files))
    inputs = dict(_pair(text) for text in given)
    if document is None and DOCUMENT in wanted - inputs.keys():
        document = str(packaged_documents() / DEMO_DOCUMENT)
    if document is not None:
        inputs[DOCUMENT] = read_input(document)
    _match(wanted, inputs, folder / TASKS_FILE)
    return Material(folder=folder, agents=files[AGENTS_FILE], tasks=files[TASKS_FILE], inputs=inputs, document=document)


def _is_demo(folder: Path) -> bool:
    return folder.resolve() == packaged_config().resolve()


def _placeholders(files: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    for name, entries in files.items():
        for entry in entries.values():
            for key in _TEXTS[name] if isinstance(entry, Mapping) else ():
                yield from _PLACEHOLDER.findall(str(entry.get(key, "")))


def _pair(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark or not name:
        raise InvalidInput(f"'{text[:60]}' is no input", where="--input", allowed=("NAME=VALUE",))
    return name, value


def read_input(source: str) -> str:
    """The text of a file, or of stdin for "-". Raises ConfigError when it is empty, too large or no text."""
    text = _stdin() if source == STDIN else read_text(Path(source))
    if not text.strip():
        raise ConfigError("there is no text in it", file="stdin" if source == STDIN else source)
    return text


def _stdin() -> str:
    return as_text(sys.stdin.buffer.read(MAX_BYTES + 1), "stdin")


def _match(wanted: set[str], inputs: Mapping[str, str], file: Path) -> None:
    for name in sorted(wanted - inputs.keys()):
        raise ConfigError(f"the crew's files ask for {{{name}}}: give --input {name}=VALUE", file=str(file))
    for name in sorted(inputs.keys() - wanted):
        raise InvalidInput(f"the crew's files have no {{{name}}}", where=str(file), value=name, allowed=sorted(wanted))
