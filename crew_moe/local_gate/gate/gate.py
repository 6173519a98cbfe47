"""The gate: opened from the plan, asked for each text, safe for threads.

Without a model of its own it is the packaged one, for byt5, longformer and extractive. Where experts of the plan have
examples, a gate is trained anew when it is opened: on the packaged lessons and the examples, in about a second, always
to the same result, which is kept in a folder where one is given.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

from crew_moe.domain.digest import digest
from crew_moe.domain.hosting import GateSpec, HostSpec
from crew_moe.errors import ConfigError
from crew_moe.local_gate.features import TextFeatures, features
from crew_moe.local_gate.gate.capacity import Recent
from crew_moe.local_gate.gate.choice import GateChoice, choose
from crew_moe.local_gate.gate.corpus import packaged_examples
from crew_moe.local_gate.gate.diagnostics import GateDiagnostics, Journal, Seen, diagnose
from crew_moe.local_gate.gate.file import GateFile
from crew_moe.local_gate.gate.lessons import Lessons
from crew_moe.local_gate.gate.newcomers import fit_with
from crew_moe.local_gate.gate.training import USUAL
from crew_moe.ports import LanguageDetector

FOLDER: Final = Path(__file__).with_name("model")


class Gate:
    """Chooses an expert for each text. `version` changes with the network; `file` is what it was trained on."""

    def __init__(
        self,
        file: GateFile,
        hosts: Mapping[str, HostSpec],
        spec: GateSpec,
        *,
        languages: LanguageDetector | None = None,
    ) -> None:
        self.file = file
        self._spec = spec
        self._languages = languages
        self._labels = labels(file.network.experts, hosts)
        self._recent = Recent()
        self._journal = Journal()
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        spec: GateSpec,
        hosts: Mapping[str, HostSpec],
        *,
        languages: LanguageDetector | None = None,
    ) -> Gate:
        """The gate of a plan. `languages` tells the language of longer texts, for a gate that learns from examples.

        Raises ConfigError for a model that can't be read, and for one that does not know an expert that has examples.
        """
        if spec.model is not None:
            file = GateFile.load(spec.model)
            _check_known(file, hosts, spec.model)
        elif any(host.examples for host in hosts.values()):
            file = _with_examples(hosts, spec.kept_in, languages)
        else:
            file = packaged()
        return cls(file, hosts, spec, languages=languages)

    @property
    def version(self) -> str:
        return self.file.version

    @property
    def experts(self) -> tuple[str, ...]:
        """Those of the plan that the gate may choose by itself."""
        return tuple(self._labels)

    def features(self, text: str) -> TextFeatures:
        """What the gate looks at in a text."""
        return features(text, self._languages)

    def choose(self, text_features: TextFeatures, among: Collection[str], *, session: str | None = None) -> GateChoice:
        """The expert for a text among those that can serve; choices of one `session` are compared with each other.

        Raises InvalidInput where nobody can serve.
        """
        with self._lock:
            choice, self._recent = choose(
                self.file.network, self._labels, text_features, among, spec=self._spec, recent=self._recent
            )
        self._journal.note(
            Seen(
                expert=choice.expert,
                probabilities=choice.probabilities,
                overflowed=choice.overflowed,
                session=session,
            )
        )
        return choice

    def diagnostics(self) -> GateDiagnostics:
        """How the last choices were spread over the experts."""
        return diagnose(self._journal.choices(), self.experts)


@cache
def packaged() -> GateFile:
    """The gate that ships with the package; read once per process."""
    return GateFile.load(FOLDER)


@cache
def packaged_lessons() -> Lessons:
    """What the packaged gate learned from; looked at once per process."""
    return Lessons.of(packaged_examples())


def labels(outputs: Collection[str], hosts: Mapping[str, HostSpec]) -> dict[str, str]:
    """The output of each expert: that of its own name, else that of its kind; without either it has none."""
    named = {name: name if name in outputs else host.kind.value for name, host in hosts.items()}
    return {name: output for name, output in named.items() if output in outputs}


def _check_known(file: GateFile, hosts: Mapping[str, HostSpec], folder: Path) -> None:
    for name, host in hosts.items():
        if host.examples and name not in file.network.experts:
            what = f"does not know '{name}', which has examples: crew-moe local train-gate teaches it"
            raise ConfigError(what, file=str(folder), value=name, allowed=file.network.experts)


def _with_examples(hosts: Mapping[str, HostSpec], kept_in: Path | None, languages: LanguageDetector | None) -> GateFile:
    """Trained on the packaged lessons and the examples, or found where it is kept."""
    given = {name: list(host.examples) for name, host in sorted(hosts.items()) if host.examples}
    told = digest(json.dumps([packaged().version, given, type(languages).__name__])).hex()
    version = f"gate@{told[:12]}"
    folder = kept_in / f"gate-{told}" if kept_in is not None else None
    if folder is not None and folder.is_dir():
        with suppress(ConfigError):  # cut short while it was written: it is made again
            return replace(GateFile.load(folder), version=version)
    file = replace(_learned(given, languages), version=version)
    if folder is not None:
        with suppress(ConfigError):  # a disk that takes nothing costs a second at the next start, no more
            file.save(folder)
    return file


def _learned(given: Mapping[str, list[str]], languages: LanguageDetector | None) -> GateFile:
    """With as many examples as there are, nothing can be held out: the confidence is scaled as the packaged gate's."""

    def look(text: str) -> TextFeatures:
        return features(text, languages)

    lessons = packaged_lessons() if languages is None else Lessons.of(packaged_examples(), look)
    network = replace(fit_with(lessons, given, look), temperature=packaged().network.temperature)
    examples = {name: len(texts) for name, texts in given.items()}
    provenance = {"lessons": {"packaged": len(lessons)}, "examples": examples, "seed": USUAL.seed}
    return GateFile(network=network, provenance=provenance)
