"""Any text-classification model of transformers, from a folder, as a detector (extra `local`).

Nothing is downloaded and no code that lies in the folder is run. A text longer than the model's window is cut into
overlapping windows, and the worst of them counts.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Final

from crew_moe.domain.screening import Concern, Finding
from crew_moe.errors import InvalidInput, MissingExtra

_LONGEST: Final = 4_096  # tokens; tokenizers without a limit of their own name an absurd one
_AT_ONCE: Final = 16  # windows to a batch: what bounds the memory


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    tokenizer: Any
    network: Any
    bad: tuple[int, ...]  # indices of the labels that count
    several: bool  # labels exclude each other (softmax) or not (sigmoid)
    window: int  # tokens


@dataclass(frozen=True, kw_only=True)
class TransformersClassifier:
    """`path` holds a model and its tokenizer; `bad` are the labels that count, as its configuration spells them.

    The score of a window is the probability of all bad labels together where labels exclude each other, and of the
    likeliest one where they do not. `stride`: tokens that two windows share, a quarter of a window at the most.
    """

    path: Path
    concern: Concern
    bad: Collection[str]
    stride: int = 64
    _lock: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for module in ("torch", "transformers"):
            if find_spec(module) is None:
                raise MissingExtra("local", module)
        if not (Path(self.path) / "config.json").is_file():
            raise InvalidInput(f"no model in '{self.path}': it has no config.json", where="path")

    @property
    def version(self) -> str:
        return f"transformers:{Path(self.path).name}"

    def assess(self, text: str) -> Finding:
        with self._lock:  # fast tokenizers keep their truncation in themselves
            score = self._score(text)
        return Finding(concern=self.concern, score=score, version=self.version)

    @cached_property
    def _model(self) -> _Model:
        hub = import_module("transformers")
        folder = str(self.path)
        network = hub.AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
        tokenizer = hub.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        labels = {str(label): int(index) for index, label in network.config.id2label.items()}
        for label in self.bad:
            if label not in labels:
                raise InvalidInput(f"the model has no label '{label}'", where="bad", value=label, allowed=labels)
        return _Model(
            tokenizer=tokenizer,
            network=network.eval(),
            bad=tuple(labels[label] for label in self.bad),
            several=network.config.problem_type == "multi_label_classification",
            window=_window(tokenizer.model_max_length, network.config),
        )

    def _score(self, text: str) -> float:
        torch = import_module("torch")
        model = self._model
        stride = min(self.stride, model.window // 4)
        windows = model.tokenizer(
            text, truncation=True, max_length=model.window, stride=stride, return_overflowing_tokens=True
        )
        worst = 0.0
        for start in range(0, len(windows["input_ids"]), _AT_ONCE):
            some = {key: windows[key][start : start + _AT_ONCE] for key in ("input_ids", "attention_mask")}
            batch = model.tokenizer.pad(some, return_tensors="pt")
            with torch.inference_mode():
                logits = model.network(**batch).logits  # (windows, labels)
            bad = logits.sigmoid() if model.several else logits.softmax(-1)
            bad = bad[:, list(model.bad)]
            worst = max(worst, float((bad.amax(-1) if model.several else bad.sum(-1)).max()))
        return min(1.0, worst)


def _window(limit: int, config: Any) -> int:
    """Tokens that the model takes: what the tokenizer says, else its positions, of which some models keep two."""
    return limit if limit <= _LONGEST else min(getattr(config, "max_position_embeddings", _LONGEST) - 2, _LONGEST)
