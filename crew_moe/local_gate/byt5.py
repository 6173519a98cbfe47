"""ByT5: texts as bytes, for short texts, code and odd characters (Xue et al. 2022, arXiv:2105.13626). Needs torch.

A model of our own training knows a few tasks and says which (crew_moe.json); any other model is given its text as it
comes, after the option `instruction`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from transformers import ByT5Tokenizer

from crew_moe.domain.hosting import HostSpec
from crew_moe.domain.local_work import Trouble
from crew_moe.errors import HostFailed
from crew_moe.local_gate.demo.manifest import DemoManifest
from crew_moe.local_gate.hosts.chunks import Chunk
from crew_moe.local_gate.hosts.loading import LoadedModel, load, manifest_of
from crew_moe.local_gate.hosts.seq2seq import Seq2Seq, window_of

WINDOW: Final = 1024
"""Bytes at once: what ByT5 was trained with."""


class ByT5(Seq2Seq):
    """A model over bytes; `manifest` says what it was taught, where it is one of our own."""

    def __init__(self, spec: HostSpec, loaded: LoadedModel, manifest: DemoManifest | None) -> None:
        super().__init__(spec, loaded, window=window_of(loaded, default=WINDOW))
        self._manifest = manifest
        if manifest is not None:
            self.options = {**self.options, "task": str}

    def measure(self, text: str) -> int:
        return len(text.encode())

    def read(self, text: str, options: Mapping[str, Any]) -> tuple[str, tuple[Chunk, ...]]:
        if self._manifest is None or "instruction" in options:
            return super().read(text, options)
        name, payload = self._asked(self._manifest, text, options)
        task = self._manifest.tasks[name]
        pieces = [Chunk(text=piece.text, before=piece.before, after=piece.after) for piece in task.pieces(payload)]
        return task.prefix, tuple(part for piece in pieces for part in self._small(piece, task.prefix))

    def _asked(self, manifest: DemoManifest, text: str, options: Mapping[str, Any]) -> tuple[str, str]:
        """(the task, the text that it is to be done on). Raises HostFailed where it is none that was taught."""
        known = ", ".join(sorted(manifest.tasks))
        wanted = options.get("task")
        if wanted is not None and wanted not in manifest.tasks:
            raise HostFailed(Trouble.INVALID_INPUT, f"'{self.spec.name}' has no task '{wanted[:40]}'; allowed: {known}")
        found = manifest.task_of(text)
        if wanted is not None:
            return wanted, found[1] if found is not None and found[0] == wanted else text
        if found is None:
            raise HostFailed(
                Trouble.NOT_CAPABLE,
                f"'{self.spec.name}' is a {manifest.label} that knows only: {known}",
                next_steps=("ask another expert", "or give it a whole model's weights by `path:` or `hub:`"),
            )
        return found

    def _small(self, piece: Chunk, prefix: str) -> tuple[Chunk, ...]:
        """The piece, cut further where a word alone is too long."""
        if not piece.text:
            return (piece,)
        first, *rest = self.cut(piece.text, prefix)
        parts = [Chunk(text=first.text, before=piece.before + first.before, after=first.after), *rest]
        last = parts[-1]
        parts[-1] = Chunk(text=last.text, before=last.before, after=last.after + piece.after, repeated=last.repeated)
        return tuple(parts)


def open_model(spec: HostSpec) -> ByT5:
    """Load the weights and what they tell of themselves. Raises HostFailed."""
    manifest = manifest_of(spec)
    return ByT5(spec, load(spec, "T5ForConditionalGeneration", tokenizer=ByT5Tokenizer), manifest)
