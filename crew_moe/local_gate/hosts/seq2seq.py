"""What encoder-decoder models have in common: long texts in chunks, batches, streams, embeddings. Needs torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from crew_moe.domain.hosting import HostSpec
from crew_moe.domain.local_work import Made, Trouble, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.hosts.chunks import Chunk, chunks, joined
from crew_moe.local_gate.hosts.embedding import embedded
from crew_moe.local_gate.hosts.generation import Encoded, Row, generate, stream, tokens_of
from crew_moe.local_gate.hosts.input import merged_options
from crew_moe.local_gate.hosts.loading import LoadedModel

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

MOST_BEAMS: Final = 8
MOST_ROUNDS: Final = 3
"""How often a summary that is still too long is summarised again."""
SPECIALS: Final = 4
"""Tokens that a tokenizer may put around a text."""
UNBOUNDED: Final = 1_000_000
"""A tokenizer that names a longer text than this knows no bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One work as the model gets it: a row for each part that holds any text."""

    work: Work
    parts: tuple[Chunk, ...]
    rows: tuple[Row, ...]


class Seq2Seq:
    """A model that makes a text of a text. `window` is how many tokens it takes at once, `longest` how many it makes;
    what it makes of a longer text's chunks is joined, or (`condenses`) summarised again where it is too long.

    Options: `instruction` is put before the text and before each of its chunks; `beams` is the width of the search.
    """

    options: Mapping[str, type | tuple[type, ...]] = {"instruction": str, "beams": int}

    def __init__(
        self, spec: HostSpec, loaded: LoadedModel, *, window: int, longest: int = UNBOUNDED, condenses: bool = False
    ) -> None:
        self.spec = spec
        self.loaded = loaded
        self.window = min(window, spec.chunk_tokens or window)
        self._longest = min(longest, spec.max_output_tokens)
        self._condenses = condenses

    def process(self, works: Sequence[Work]) -> Sequence[Made | HostFailed]:
        return self._process(works, MOST_ROUNDS)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return embedded(
            self.loaded,
            [chunks(text, budget=self._budget(""), measure=self.measure) for text in texts],
            self.hidden,
            extras=self.extras,
        )

    def stream(self, work: Work) -> Iterator[str]:
        """Token by token where the text is one chunk; else chunk by chunk, or at once what is made of them all."""
        job = self._job(work)
        if len(job.rows) == 1 and job.rows[0].beams == 1:
            part = next(part for part in job.parts if part.text)
            for pieces in ([part.before], stream(self.loaded, job.rows[0], self.extras), [part.after]):
                yield from (piece for piece in pieces if piece)
        elif self._condenses or any(part.repeated for part in job.parts):
            yield _text_of(self._process([work], MOST_ROUNDS)[0])
        else:
            rows = iter(job.rows)
            for part in job.parts:
                made = _text_of(generate(self.loaded, [next(rows)], self.extras)[0]) if part.text else ""
                if piece := part.before + made + part.after:
                    yield piece

    def read(self, text: str, options: Mapping[str, Any]) -> tuple[str, tuple[Chunk, ...]]:
        """What is put before each chunk, and the chunks. Raises HostFailed for what the model wasn't taught."""
        prefix = options.get("instruction", "")
        return prefix, self.cut(text, prefix)

    def cut(self, text: str, prefix: str) -> tuple[Chunk, ...]:
        budget = self._budget(prefix)
        return chunks(text, budget=budget, measure=self.measure, overlap=min(self.spec.overlap_tokens, budget // 2))

    def measure(self, text: str) -> int:
        return tokens_of(self.loaded, text)

    def extras(self, batch: Encoded) -> Encoded:  # noqa: ARG002 - most models want nothing
        return {}

    def hidden(self, batch: Encoded) -> torch.Tensor:
        """The encoder's last layer: (texts, tokens, width)."""
        states: torch.Tensor = self.loaded.model.get_encoder()(**batch).last_hidden_state
        return states

    def _budget(self, prefix: str) -> int:
        return max(1, self.window - SPECIALS - (self.measure(prefix) if prefix else 0))

    def _process(self, works: Sequence[Work], rounds: int) -> list[Made | HostFailed]:
        jobs = [self._attempt(work) for work in works]
        rows = [row for job in jobs if isinstance(job, Job) for row in job.rows]
        made = iter(generate(self.loaded, rows, self.extras))
        answers = [
            job if isinstance(job, HostFailed) else _merged(job, list(islice(made, len(job.rows)))) for job in jobs
        ]
        return self._condensed(jobs, answers, rounds) if self._condenses and rounds else answers

    def _condensed(
        self, jobs: Sequence[Job | HostFailed], answers: list[Made | HostFailed], rounds: int
    ) -> list[Made | HostFailed]:
        """The answers, those of several chunks that together are too long for an answer summarised once more."""
        long = {
            number: (job.work, answer)
            for number, (job, answer) in enumerate(zip(jobs, answers, strict=True))
            if isinstance(job, Job) and isinstance(answer, Made) and len(job.rows) > 1
            and self.measure(answer.text) > self._most(job.work)
        }  # fmt: skip
        if not long:
            return answers
        again = self._process([replace(work, text=answer.text) for work, answer in long.values()], rounds - 1)
        for (number, (_, first)), last in zip(long.items(), again, strict=True):
            answers[number] = replace(last, input_tokens=first.input_tokens) if isinstance(last, Made) else last
        return answers

    def _attempt(self, work: Work) -> Job | HostFailed:
        try:
            return self._job(work)
        except HostFailed as error:
            return error.with_traceback(None)

    def _job(self, work: Work) -> Job:
        options = merged_options(self.spec, work.options, self.options)
        beams = options.get("beams", 1)
        if not 1 <= beams <= MOST_BEAMS:
            raise HostFailed(Trouble.INVALID_INPUT, f"the option 'beams' must be from 1 to {MOST_BEAMS}")
        prefix, parts = self.read(work.text, options)
        most = self._most(work)
        rows = tuple(
            Row(prompt=prefix + part.text, most=most, beams=beams, gone=work.gone) for part in parts if part.text
        )
        return Job(work=work, parts=parts, rows=rows)

    def _most(self, work: Work) -> int:
        return max(1, min(work.max_output_tokens or self._longest, self._longest))


def window_of(loaded: LoadedModel, *, default: int, setting: str = "") -> int:
    """How many tokens the model takes at once: what this setting of its config says, or its tokenizer where that says
    less.
    """
    told = (getattr(loaded.model.config, setting, None), loaded.tokenizer.model_max_length)
    return min((int(bound) for bound in told if bound is not None and 0 < bound < UNBOUNDED), default=default)


def _merged(job: Job, made: Sequence[Made | HostFailed]) -> Made | HostFailed:
    failed = next((one for one in made if isinstance(one, HostFailed)), None)
    if failed is not None:
        return failed
    whole = [one for one in made if isinstance(one, Made)]
    texts = iter(whole)
    return Made(
        text=joined(job.parts, [next(texts).text if part.text else "" for part in job.parts]),
        input_tokens=sum(one.input_tokens for one in whole),
        output_tokens=sum(one.output_tokens for one in whole),
        finish_reason="length" if any(one.finish_reason == "length" for one in whole) else "stop",
    )


def _text_of(made: Made | HostFailed) -> str:
    if isinstance(made, HostFailed):
        raise made
    return made.text
