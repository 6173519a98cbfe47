"""`extractive` as a hosted expert: always there, without weights, and the same answer to the same text.

Its embeddings are hashed words and character trigrams, counted: near for texts that share words, and blind to meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final
from zlib import crc32

import numpy as np

from crew_moe.domain.hosting import HostSpec
from crew_moe.domain.local_work import HostHealth, Loaded, Made, Trouble, Work
from crew_moe.errors import HostFailed, MissingExtra
from crew_moe.local_gate.extractive.answers import summary
from crew_moe.local_gate.extractive.expert import reply
from crew_moe.local_gate.extractive.ranking import has_summa, rank, require_summa
from crew_moe.local_gate.extractive.tokens import cut_to_tokens, estimate_tokens
from crew_moe.local_gate.hosts.failures import guarded
from crew_moe.local_gate.hosts.input import complaint_of, each_with, merged_options
from crew_moe.local_gate.hosts.weights import version

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIMENSIONS: Final = 512
MAX_SENTENCES: Final = 100
OPTIONS: Final[Mapping[str, type]] = {"sentences": int}

_WORD: Final = re.compile(r"\w+")


class ExtractiveHost:
    """Implements ports.Host. The option `sentences` asks for so many of the text's best sentences, in its order."""

    takes_chats: Final = True
    concurrent: Final = 4

    def __init__(self, spec: HostSpec) -> None:
        self._spec = spec
        self._loaded = False

    @property
    def name(self) -> str:
        return self._spec.name

    @property
    def version(self) -> str:
        return version(self._spec) if self._loaded else ""

    def load(self) -> None:
        guarded(require_summa)
        self._loaded = True

    def process(self, works: Sequence[Work]) -> Sequence[Made | HostFailed]:
        return each_with(self._spec, works, lambda fine: [self._answer(work) for work in fine])

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        for text in texts:
            refused = complaint_of(self._spec, text)
            if refused is not None:
                raise refused
        return np.stack([_embedding(text) for text in texts]) if texts else np.zeros((0, DIMENSIONS), dtype=np.float32)

    def stream(self, work: Work) -> Iterator[str]:
        """Line by line."""
        made = self.process([work])[0]
        if isinstance(made, HostFailed):
            raise made
        yield from made.text.splitlines(keepends=True)

    def health(self) -> HostHealth:
        if not has_summa():
            what = str(MissingExtra("crew", "summa"))
            return HostHealth(name=self.name, state=Loaded.FAILED, trouble=Trouble.MISSING_EXTRA, what=what)
        state = Loaded.READY if self._loaded else Loaded.COLD
        return HostHealth(name=self.name, state=state, version=self.version, device="cpu")

    def unload(self) -> None:
        self._loaded = False

    def _answer(self, work: Work) -> Made | HostFailed:
        try:
            return guarded(lambda: self._made(work))
        except HostFailed as error:
            return error.with_traceback(None)

    def _made(self, work: Work) -> Made:
        options = merged_options(self._spec, work.options, OPTIONS)
        most = min(work.max_output_tokens or self._spec.max_output_tokens, self._spec.max_output_tokens)
        if "sentences" in options:
            return _sentences(work.text, options["sentences"], most)
        chat = work.chat
        if chat is None:
            answer = reply([{"role": "user", "content": work.text}], max_output_tokens=most)
        else:
            answer = reply(chat.messages, chat.tools, chat.response_format, most)
        return Made(
            text=answer.text,
            input_tokens=answer.usage.input_tokens,
            output_tokens=answer.usage.output_tokens,
            finish_reason=answer.finish_reason,
            reply=answer if chat is not None else None,
        )


def _sentences(text: str, count: int, most: int) -> Made:
    if not 1 <= count <= MAX_SENTENCES:
        raise HostFailed(Trouble.INVALID_INPUT, f"the option 'sentences' must be from 1 to {MAX_SENTENCES}")
    whole = summary(rank(text).best(), count)
    cut = cut_to_tokens(whole, most)
    return Made(
        text=cut,
        input_tokens=estimate_tokens(text),
        output_tokens=estimate_tokens(cut),
        finish_reason="stop" if cut == whole else "length",
    )


def _embedding(text: str) -> NDArray[np.float32]:
    """Counts of words and of their trigrams by hash, damped by a logarithm, of length 1: (DIMENSIONS,)."""
    words = [word.lower() for word in _WORD.findall(text)] or [""]
    marked = [f"^{word}$" for word in words]
    parts = words + [word[at : at + 3] for word in marked for at in range(len(word) - 2)]
    places = np.fromiter((crc32(part.encode()) % DIMENSIONS for part in parts), dtype=np.int64, count=len(parts))
    counts = np.log1p(np.bincount(places, minlength=DIMENSIONS))
    row: NDArray[np.float32] = (counts / np.linalg.norm(counts)).astype(np.float32)
    return row
