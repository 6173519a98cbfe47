"""`crew-moe init`: routing for an existing crewAI project, as a diff first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from tempfile import mkstemp
from typing import Annotated, Final

import typer

from crew_moe.cli.output import harmless, out, say, write_json
from crew_moe.errors import ConfigError

AGENTS_FILE: Final = "agents.yaml"
TASKS_FILE: Final = "tasks.yaml"
PLACES: Final = (".", "config", "src/*/config")  # where crewAI's own generator puts its files, and near it
DIFF_STYLES: Final = {"+": "green", "-": "red", "@": "cyan"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One file as it is and as it would be; `skipped` names the entries that have to be edited by hand."""

    path: Path
    before: str
    after: str
    added: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def diff(self) -> str:
        lines = unified_diff(
            self.before.splitlines(keepends=True),
            self.after.splitlines(keepends=True),
            str(self.path),
            f"{self.path} (with routing)",
        )
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init")(init)


def init(
    project: Annotated[Path, typer.Argument(metavar="[PROJECT]", help="The project, or its config folder.")] = Path(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the diff and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; changes nothing without --yes.")] = False,
) -> None:
    """Add a routing block to every task and agent of a crewAI project. Shows the diff and asks before it writes."""
    folder = _config_folder(project)
    changes = tuple(_changes(folder))
    wanted = [change for change in changes if change.added]
    if as_json:
        if yes and not dry_run:
            _write(wanted)
        write_json({"written": yes and not dry_run, "files": [_file_json(change) for change in changes]})
        return
    _show(changes)
    if not wanted or dry_run:
        return
    if not yes and not typer.confirm("Write this?", err=True):
        raise typer.Abort
    _write(wanted)
    say(f"Written. To see what it does: crew-moe plan --config {folder}")


def _config_folder(project: Path) -> Path:
    """The folder that holds tasks.yaml. Raises ConfigError when there is none, or more than one."""
    found = sorted({path.parent for place in PLACES for path in project.glob(f"{place}/{TASKS_FILE}")})
    if not found:
        raise ConfigError(f"no {TASKS_FILE} here", file=str(project), allowed=[f"{p}/{TASKS_FILE}" for p in PLACES])
    if len(found) > 1:
        raise ConfigError("more than one crew here", file=str(project), allowed=[str(folder) for folder in found])
    return found[0]


def _changes(folder: Path) -> Iterable[Change]:
    from crew_moe.cli.routing_blocks import add_blocks, agent_block, task_block

    for name, block in ((AGENTS_FILE, agent_block), (TASKS_FILE, task_block)):
        path = folder / name
        if not path.is_file():
            continue
        before = _text(path)
        edited = add_blocks(before, path, block)
        yield Change(path=path, before=before, after=edited.text, added=edited.added, skipped=edited.skipped)


def _text(path: Path) -> str:
    """The file with its line endings as they are."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", file=str(path)) from None
    except OSError as error:
        raise ConfigError(f"can't be read ({error.strerror})", file=str(path)) from error


def _show(changes: Sequence[Change]) -> None:
    """The diffs, and what has to be done by hand."""
    console = out()
    for change in changes:
        for line in change.diff.splitlines():
            console.print(harmless(line), style=DIFF_STYLES.get(line[:1], ""), soft_wrap=True)
    for change in changes:
        if change.skipped:
            say(f"To be edited by hand in {change.path}: {', '.join(change.skipped)}.")
    if not any(change.added or change.skipped for change in changes):
        say("Every task and agent has a routing block already.")


def _write(changes: Sequence[Change]) -> None:
    """Put each file in place whole, once all are ready: either all of a file is new or nothing of it is."""
    staged: list[Path] = []
    try:
        for change in changes:
            home = change.path.resolve().parent  # of a link, the file that it names is written
            handle, name = mkstemp(dir=home, prefix=f".{change.path.name}.")
            staged.append(Path(name))
            _fill(handle, change, staged[-1])
        for new, change in zip(staged, changes, strict=True):
            os.replace(new, change.path.resolve())
    except OSError as error:
        raise ConfigError(f"can't be written ({error.strerror})", file=str(error.filename)) from error
    finally:
        for new in staged:
            new.unlink(missing_ok=True)


def _fill(handle: int, change: Change, path: Path) -> None:
    """Put the new content into a file beside the old one, on the disk, with the old one's permissions."""
    with os.fdopen(handle, "wb") as file:
        file.write(change.after.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())
    shutil.copymode(change.path, path)


def _file_json(change: Change) -> dict[str, object]:
    return {
        "path": str(change.path),
        "added": list(change.added),
        "skipped": list(change.skipped),
        "diff": change.diff,
    }
