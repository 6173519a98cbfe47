"""A model's folder that is there whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from crew_moe.errors import InvalidInput


def require_free(target: Path, *, force: bool) -> None:
    """Raises InvalidInput where something would be overwritten that `force` does not give away."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise InvalidInput("is not a folder", where=str(target))
    if target.exists() and not force:
        raise InvalidInput("is there already", where=str(target), allowed=("--force, to replace it",))


@contextmanager
def new_folder(target: Path, *, force: bool = False) -> Iterator[Path]:
    """A folder beside `target` to write into, which becomes `target` when the block ends; after an error it is gone.

    With `force` it takes the place of what was there before. Raises InvalidInput when it can't be made.
    """
    require_free(target, force=force)
    made = _beside(target)
    try:
        made.mkdir(parents=True)
    except OSError as error:
        raise InvalidInput(f"can't be written ({error.strerror})", where=str(target)) from None
    try:
        yield made
        for file in made.iterdir():  # weights are written for their owner alone; a service may run as somebody else
            file.chmod(made.stat().st_mode & 0o666)
        require_free(target, force=force)  # something may have come there meanwhile
        _put(made, target)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _put(made: Path, target: Path) -> None:
    if not target.exists():
        made.rename(target)
        return
    old = _beside(target)
    target.rename(old)
    try:
        made.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _beside(target: Path) -> Path:
    """A name that nobody has, on the same disk, where it is no model that could be loaded by mistake."""
    return target.with_name(f".{target.name}.{token_hex(4)}")
