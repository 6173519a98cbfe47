"""A hosted expert whose model runs in a server of its own."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from crew_moe.domain.local_work import HostHealth, Loaded, Made, Trouble, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.hosts.input import complaint_of, each_with, merged_options
from crew_moe.local_gate.remote.apis import APIS, CHAT, Listed
from crew_moe.local_gate.remote.chat import chat_body, made, text_pieces
from crew_moe.local_gate.remote.server import Server, read_json
from crew_moe.local_gate.remote.survey import Survey, pick, state, survey, waiting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from crew_moe.domain.hosting import HostSpec

CONCURRENT: Final = 32
TIMEOUT_S: Final = 60.0
TIMEOUT_OPTION: Final = "timeout_s"
_NUMBER: Final = (int, float)
OPTIONS: Final[Mapping[str, type | tuple[type, ...]]] = {
    TIMEOUT_OPTION: _NUMBER,
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "top_k": int,
    "min_p": _NUMBER,
    "seed": int,
    "stop": (str, list, tuple),
    "frequency_penalty": _NUMBER,
    "presence_penalty": _NUMBER,
    "repetition_penalty": _NUMBER,
    "logit_bias": Mapping,
    "response_format": Mapping,
    "reasoning_effort": str,
    "chat_template_kwargs": Mapping,
    "extra": Mapping,
}
"""What servers of these kinds take beside a chat; `extra` is for what one of them takes alone, and goes as it is."""


class RemoteHost:
    """ports.Host over HTTP: OpenAI's chat API, and each kind's own words for how it is. Nothing is asked twice.

    `load` asks whether the model is there; it is the server that has it in memory. The option `timeout_s` bounds each
    answer, to its last byte (60 s); the other options go into the body of the request.
    """

    def __init__(self, spec: HostSpec) -> None:
        self.spec = spec
        self._api = APIS[spec.kind]
        self._server = Server(
            spec.base_url or "",
            key_env=spec.api_key_env,
            timeout_s=_timeout_s(spec),
            connections=CONCURRENT,
        )
        self._model = ""
        self._version = ""

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def version(self) -> str:
        return self._version

    @property
    def takes_chats(self) -> bool:
        return True

    @property
    def concurrent(self) -> int:
        return CONCURRENT

    def load(self) -> None:
        """See that the server has the model. Raises HostFailed."""
        found = survey(self._server, self._api)
        self._take(pick(found, self.spec.model, api=self._api, at=self._server.shown), found)

    def process(self, works: Sequence[Work]) -> Sequence[Made | HostFailed]:
        """An answer for each; they are asked for side by side, for the server to batch."""
        return each_with(self.spec, works, self._answers)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        path, at = self._api.embeddings, self._server.shown
        if not path:
            raise HostFailed(Trouble.NOT_CAPABLE, f"a server of kind {self.spec.kind} has no embeddings")
        for text in texts:
            self._check(text)
        try:
            body = self._server.ask(path, {"model": self._model, "input": list(texts)})
            return _unit_rows(self._api.vectors(read_json(body, at=at)), len(texts), at)
        except HostFailed as failure:
            told = failure
        raise self._explained(told, Trouble.NOT_CAPABLE)

    def stream(self, work: Work) -> Iterator[str]:
        if work.chat is not None and work.chat.tools:
            raise HostFailed(Trouble.NOT_CAPABLE, "calls of tools are not streamed: ask for the whole answer")
        self._check(work.text)
        try:
            with closing(self._server.listen(CHAT, {**self._body(work), "stream": True})) as pieces:
                yield from text_pieces(pieces, at=self._server.shown)
            return
        except HostFailed as failure:
            told = failure
        raise self._explained(told)

    def health(self) -> HostHealth:
        """How the server is and what it has, asked anew; `models` are those in its memory. Cold before `load`."""
        try:
            found = survey(self._server, self._api)
            if found.loading:
                return self._health(Loaded.LOADING)
            model = pick(found, self.spec.model, api=self._api, at=self._server.shown)
        except HostFailed as failure:
            return self._health(Loaded.FAILED, trouble=failure.trouble, what=failure.what)
        queue = waiting(self._server, self._api, found.models)
        if not self._version:
            return self._health(Loaded.COLD, queue=queue, models=found.loaded)
        self._take(model, found)
        return self._health(state(model), queue=queue, models=found.loaded)

    def unload(self) -> None:
        """Let go of the connections; what the server has in memory is its own business."""
        self._server.close()
        self._model = self._version = ""

    def _take(self, model: Listed, found: Survey) -> None:
        told = json.dumps([model.told, found.build, repr(self.spec.options)])
        self._model = model.name
        self._version = f"{self.spec.kind}:{model.name}@{hashlib.sha256(told.encode()).hexdigest()[:12]}"

    def _health(self, where: Loaded, **told: Any) -> HostHealth:
        return HostHealth(name=self.name, state=where, version=self._version, device=self._server.shown, **told)

    def _check(self, text: str) -> None:
        complaint = complaint_of(self.spec, text)
        if complaint is not None:
            raise complaint

    def _body(self, work: Work) -> dict[str, Any]:
        options = merged_options(self.spec, work.options, OPTIONS)
        options.pop(TIMEOUT_OPTION, None)
        return chat_body(work, model=self._model, options=options, max_output_tokens=self.spec.max_output_tokens)

    def _answers(self, works: Sequence[Work]) -> Sequence[Made | HostFailed]:
        if len(works) == 1:
            return [self._answer(works[0])]
        with ThreadPoolExecutor(min(len(works), CONCURRENT)) as side_by_side:
            return list(side_by_side.map(self._answer, works))

    def _answer(self, work: Work) -> Made | HostFailed:
        try:
            body = self._server.ask(CHAT, self._body(work))
            return made(body, chatted=work.chat is not None, at=self._server.shown)
        except HostFailed as failure:
            return self._explained(failure)

    def _explained(self, failure: HostFailed, otherwise: Trouble = Trouble.UNAVAILABLE) -> HostFailed:
        """A model that is gone is told of with those that are there; `otherwise` where it is not the model."""
        if failure.trouble is not Trouble.MISSING_WEIGHTS:
            return failure
        try:
            pick(survey(self._server, self._api), self._model, api=self._api, at=self._server.shown)
        except HostFailed as explained:
            return explained
        return HostFailed(otherwise, failure.what)


def _timeout_s(spec: HostSpec) -> float:
    told = spec.options.get(TIMEOUT_OPTION, TIMEOUT_S)
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 < told < math.inf:
        raise HostFailed(Trouble.UNAVAILABLE, f"the option {TIMEOUT_OPTION} of '{spec.name}' is no number of seconds")
    return float(told)


def _unit_rows(rows: Sequence[Any], count: int, at: str) -> NDArray[np.float32]:
    """(texts, dimensions), each row of length 1. Raises HostFailed for what is no such table."""
    try:
        table = np.asarray(rows, dtype=np.float32)
    except (TypeError, ValueError):
        table = np.empty(0, dtype=np.float32)
    lengths = np.linalg.norm(table, axis=1, keepdims=True) if table.ndim == 2 else np.zeros(1)
    if table.shape[:1] != (count,) or not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise HostFailed(Trouble.MODEL_FAILED, f"the server at {at} gave no embedding for each of {count} texts")
    unit: NDArray[np.float32] = (table / lengths).astype(np.float32)
    return unit
