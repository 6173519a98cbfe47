"""What the local gate remembers: results by the exact question, and embeddings by their text. Texts are not kept.

A text is remembered by its keyed digest. What a model answered counts until the expert has another version.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Generic, TypeVar

from crew_moe.domain.digest import digest
from crew_moe.domain.hosting import HostKind
from crew_moe.domain.local_work import LocalTask, Work
from crew_moe.local_gate.engine.lane import Answer

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_BYTES: Final = 64 * 1024 * 1024
"""What the results, and the embeddings, may take each."""
_ENTRY_BYTES: Final = 600  # what an entry takes beside its text
_SALT: Final = secrets.token_bytes(32)


class Lru(Generic[K, V]):
    """The most recently used values, as many as fit; `size` is what one of them takes. Not for threads."""

    def __init__(self, *, entries: int, max_bytes: int, size: Callable[[V], int]) -> None:
        self._entries = entries
        self._max_bytes = max_bytes
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        """A value that alone is too large is not kept, nor what stood in its place."""
        self.drop(key)
        size = self._size(value)
        if size > self._max_bytes or not self._entries:
            return
        self._values[key] = value
        self.bytes += size
        while len(self._values) > self._entries or self.bytes > self._max_bytes:
            self.bytes -= self._size(self._values.popitem(last=False)[1])

    def drop(self, key: K) -> None:
        if (value := self._values.pop(key, None)) is not None:
            self.bytes -= self._size(value)


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked of whom, to the letter: equal questions have equal answers from one version of a model. Of two
    tenants none learns what the other has asked.
    """

    expert: str
    task: LocalTask
    how: str
    text: bytes
    tenant: str | None = None


def text_digest(text: str) -> bytes:
    """What a text is remembered by, in this process."""
    return digest(text, key=_SALT)


def question(expert: str, task: LocalTask, work: Work, text: bytes, *, tenant: str | None = None) -> Question | None:
    """`text` is its digest. None where the options can't be told apart from others'. An embedding is the same whatever
    the options.
    """
    if task is LocalTask.EMBED:
        return Question(expert, task, "", text, tenant)
    try:
        chat = None if work.chat is None else asdict(work.chat)
        how = json.dumps([dict(work.options), work.max_output_tokens, chat], sort_keys=True)
    except (TypeError, ValueError):
        return None
    return Question(expert, task, text_digest(how).hex(), text, tenant)


def is_repeatable(kind: HostKind, task: LocalTask, work: Work) -> bool:
    """Whether the same question gets the same answer again. A server elsewhere draws at random unless told not to."""
    if task is LocalTask.EMBED or kind is HostKind.EXTRACTIVE:
        return True
    told: Mapping[str, Any] = work.options
    temperature = work.chat.temperature if work.chat is not None else told.get("temperature")
    if told.get("do_sample") or temperature:
        return False
    return temperature == 0 or not kind.is_remote


class Memory:
    """Answers by their question, while the expert has the version that gave them."""

    def __init__(self, *, results: int, embeddings: int, max_bytes: int = MAX_BYTES) -> None:
        self._results: Lru[Question, Answer] = Lru(entries=results, max_bytes=max_bytes, size=_size)
        self._embeddings: Lru[Question, Answer] = Lru(entries=embeddings, max_bytes=max_bytes, size=_size)

    def get(self, asked: Question, version: str) -> Answer | None:
        store = self._of(asked)
        answer = store.get(asked)
        if answer is not None and version and answer.version != version:
            store.drop(asked)
            return None
        return answer if version else None

    def put(self, asked: Question, answer: Answer) -> None:
        self._of(asked).put(asked, answer)

    def _of(self, asked: Question) -> Lru[Question, Answer]:
        return self._embeddings if asked.task is LocalTask.EMBED else self._results


def _size(answer: Answer) -> int:
    text = sys.getsizeof(answer.made.text) if answer.made is not None else 0
    return _ENTRY_BYTES + text + (answer.vector.nbytes if answer.vector is not None else 0)
