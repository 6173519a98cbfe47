"""Train a tiny model and leave it in a folder that `from_pretrained` loads, with crew_moe.json beside the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

from transformers.utils import logging as library_logging

from crew_moe.clock import SystemClock
from crew_moe.local_gate.demo import byt5, exercises, longformer
from crew_moe.local_gate.demo.folder import new_folder, require_free
from crew_moe.local_gate.demo.manifest import DemoManifest, DemoTask, Kind, Trained, write_manifest
from crew_moe.local_gate.demo.training import Course, Lesson, News, fit
from crew_moe.ports import Clock

PER_CELL: Final = 100
_LIBRARIES: Final = ("torch", "transformers", "tokenizers")


def train(
    kind: Kind,
    folder: Path,
    *,
    seed: int = 0,
    minutes: float | None = None,
    force: bool = False,
    per_cell: int | None = None,
    told: Callable[[News], object] = lambda _: None,
    clock: Clock | None = None,
) -> DemoManifest:
    """Train the model of this kind by its recipe, in at most so many minutes, and measure it on held-out texts.

    `told` hears of every step; each figure of the accuracy rests on `per_cell` texts (None: PER_CELL). The folder
    appears when all is done. Raises InvalidInput where it is there already.
    """
    require_free(folder, force=force)
    lesson = _LESSONS[kind](seed, per_cell or PER_CELL)
    limit_s = None if minutes is None else 60.0 * minutes
    course = fit(lesson, clock=clock or SystemClock(), limit_s=limit_s, told=told)
    manifest = _manifest(kind, course, seed, lesson.accuracy())
    _write(lesson, manifest, folder, force=force)
    return manifest


def train_tiny(kind: Kind, folder: Path, steps: int = 2) -> DemoManifest:
    """The same files after a few steps, without being measured: a model that loads, not one that knows anything."""
    lesson = _LESSONS[kind](0, 1)
    lesson.recipe = replace(lesson.recipe, steps=steps, texts=4)
    manifest = _manifest(kind, fit(lesson, clock=SystemClock()), 0, {})
    _write(lesson, manifest, folder, force=False)
    return manifest


def _manifest(kind: Kind, course: Course, seed: int, accuracy: dict[str, dict[str, float]]) -> DemoManifest:
    versions = {name: version(name) for name in _LIBRARIES}
    trained = Trained(steps=course.steps, seconds=round(course.seconds, 1), seed=seed, versions=versions)
    return DemoManifest(kind=kind, tasks=_TASKS[kind], accuracy=accuracy, trained=trained)


def _write(lesson: Lesson, manifest: DemoManifest, folder: Path, *, force: bool) -> None:
    with new_folder(folder, force=force) as made, _without_bars():
        lesson.model.save_pretrained(made)
        lesson.tokenizer.save_pretrained(made)
        write_manifest(made, manifest)


@contextmanager
def _without_bars() -> Iterator[None]:
    """The library would draw bars of its own over ours."""
    shown = library_logging.is_progress_bar_enabled()
    library_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            library_logging.enable_progress_bar()


_LESSONS: Final[dict[Kind, Callable[[int, int], Lesson]]] = {
    "byt5": lambda seed, per_cell: byt5.Byt5Lesson(seed=seed, per_cell=per_cell),
    "longformer": lambda seed, per_cell: longformer.LongformerLesson(seed=seed, per_cell=per_cell),
}
_TASKS: Final[dict[Kind, Mapping[str, DemoTask]]] = {"byt5": exercises.TASKS, "longformer": longformer.TASKS}
