"""What a crew is given to work on: its folder, the document, and the values for its placeholders."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crew_moe.catalog.locate import packaged_config, packaged_documents
from crew_moe.cli.options import config_folder
from crew_moe.crew.context import asked_of_callers
from crew_moe.crew.files import CrewFiles, read_files
from crew_moe.documents import MAX_BYTES, as_text, read_text
from crew_moe.errors import ConfigError, InvalidInput

DOCUMENT: Final = "document"
STDIN: Final = "-"
DEMO_DOCUMENT: Final = "incident-report.md"
DEMO: Final = "demo"  # the folder of what goes wrong in the demonstration, and of what its policy adds
DEMO_SCRIPT: Final = Path(DEMO, "degraded.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A crew's files and its inputs; `document` names the file that is one of them."""

    files: CrewFiles
    inputs: Mapping[str, str]
    document: str | None

    @property
    def folder(self) -> Path:
        return self.files.folder

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


def load_material(config: Path | None, document: str | None, given: Sequence[str] = ()) -> Material:
    """Read a crew's files and inputs; without a folder those of the demonstration crew.

    A crew that asks for a document and gets none works on the demonstration's. `document` is a path, or "-" for stdin;
    `given` holds NAME=VALUE. Raises InvalidInput when a placeholder has no value or a value no placeholder.
    """
    files = read_files(config_folder(config) or packaged_config())
    wanted = asked_of_callers(files)
    inputs = dict(_pair(text) for text in given)
    if document is None and DOCUMENT in wanted - inputs.keys():
        document = str(packaged_documents() / DEMO_DOCUMENT)
    if document is not None:
        inputs[DOCUMENT] = read_input(document)
    _match(wanted, inputs, files.tasks_file)
    return Material(files=files, inputs=inputs, document=document)


def _is_demo(folder: Path) -> bool:
    return folder.resolve() == packaged_config().resolve()


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


def _match(wanted: frozenset[str], inputs: Mapping[str, str], file: str) -> None:
    for name in sorted(wanted - inputs.keys()):
        raise ConfigError(f"the crew's files ask for {{{name}}}: give --input {name}=VALUE", file=file)
    for name in sorted(inputs.keys() - wanted):
        raise InvalidInput(f"the crew's files have no {{{name}}}", where=file, value=name, allowed=sorted(wanted))
