"""A hosted expert whose model runs in a server of its own."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from crew_moe.domain.local_work import HostHealth, Loaded, Trouble
from crew_moe.errors import HostFailed
from crew_moe.local_gate.remote.apis import APIS, CHAT, Listed
from crew_moe.local_gate.remote.chat import chat_body, made, text_pieces
from crew_moe.local_gate.remote.server import Server, read_json
from crew_moe.local_gate.remote.survey import Survey, pick, state, survey, waiting
from crew_moe.ports import Made, Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from crew_moe.domain.hosting import HostSpec

CONCURRENT: Final = 32
TIMEOUT_S: Final = 60.0
TIMEOUT_OPTION: Final = "timeout_s"


class RemoteHost:
    """ports.Host over HTTP: OpenAI's chat API, and each kind's own words for how it is. Nothing is asked twice.

    `load` asks whether the model is there; it is the server that has it in memory. The option `timeout_s` bounds each
    answer, to its last byte (60 s); all other options go into the body of the request.
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
        self._options = {name: value for name, value in spec.options.items() if name != TIMEOUT_OPTION}
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
        if len(works) == 1:
            return [self._answer(works[0])]
        with ThreadPoolExecutor(min(len(works), CONCURRENT) or 1) as side_by_side:
            return list(side_by_side.map(self._answer, works))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        path, at = self._api.embeddings, self._server.shown
        if not path:
            raise HostFailed(Trouble.NOT_CAPABLE, f"a server of kind {self.spec.kind} has no embeddings")
        try:
            body = self._server.ask(path, {"model": self._model, "input": list(texts)})
            return _unit_rows(self._api.vectors(read_json(body, at=at)), len(texts), at)
        except HostFailed as failure:
            told = failure
        raise self._explained(told, Trouble.NOT_CAPABLE)

    def stream(self, work: Work) -> Iterator[str]:
        if work.chat is not None and work.chat.tools:
            raise HostFailed(Trouble.NOT_CAPABLE, "calls of tools are not streamed: ask for the whole answer")
        try:
            with closing(self._server.listen(CHAT, {**self._body(work), "stream": True})) as pieces:
                yield from text_pieces(pieces, at=self._server.shown)
            return
        except HostFailed as failure:
            told = failure
        raise self._explained(told)

    def health(self) -> HostHealth:
        """How the server is and what it has; `models` are those in its memory."""
        try:
            found = survey(self._server, self._api)
            if found.loading:
                return self._health(Loaded.LOADING)
            model = pick(found, self.spec.model, api=self._api, at=self._server.shown)
        except HostFailed as failure:
            return self._health(Loaded.FAILED, trouble=failure.trouble, what=failure.what)
        if self._version:
            self._take(model, found)
        queue = waiting(self._server, self._api, found.models)
        return self._health(state(model), queue=queue, models=found.loaded)

    def unload(self) -> None:
        """Let go of the connections; what the server has in memory is its own business."""
        self._server.close()
        self._model = self._version = ""

    def _take(self, model: Listed, found: Survey) -> None:
        told = json.dumps([model.told, found.build, self._options], sort_keys=True, default=str)
        self._model = model.name
        self._version = f"{self.spec.kind}:{model.name}@{hashlib.sha256(told.encode()).hexdigest()[:12]}"

    def _health(self, where: Loaded, **told: Any) -> HostHealth:
        return HostHealth(name=self.name, state=where, version=self._version, device=self._server.shown, **told)

    def _body(self, work: Work) -> dict[str, Any]:
        options = {name: value for name, value in {**self._options, **work.options}.items() if name != TIMEOUT_OPTION}
        return chat_body(work, model=self._model, options=options, max_output_tokens=self.spec.max_output_tokens)

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
