"""Texts made by an encoder-decoder model: in batches, or token by token. Greedy or by beams, so always the same.

Needs torch and transformers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final

import torch
from transformers import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from crew_moe.domain.local_work import Made, Trouble
from crew_moe.errors import HostFailed
from crew_moe.local_gate.hosts.loading import LoadedModel

ROWS: Final = 16
"""Texts that go through the model at once; more of them take turns."""
HALF: Final = "\ufffd"
"""What a decoder makes of the first bytes of a character."""
Encoded = dict[str, torch.Tensor]
Extras = Callable[[Encoded], Encoded]
"""What a kind of model wants beside tokens and mask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One text for the model. `gone` is asked before every token: nobody waits for it any more."""

    prompt: str
    most: int
    beams: int = 1
    gone: Callable[[], bool] | None = None


class _Ends(StoppingCriteria):  # type: ignore[misc]  # transformers is not followed
    """A row ends at its own limit, and as soon as nobody waits for it; the others go on."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __call__(self, input_ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        made = input_ids.shape[1] - 1  # the decoder starts with one token of its own
        beams = input_ids.shape[0] // len(self._rows)
        ended = [made >= row.most or (row.gone is not None and row.gone()) for row in self._rows for _ in range(beams)]
        return torch.tensor(ended, dtype=torch.bool, device=input_ids.device)


class _Pieces(BaseStreamer):  # type: ignore[misc]  # as above
    """What is new in the text with every token, without waiting for the word's end as transformers' own do."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._told = 0
        self._started = False
        self._queue: SimpleQueue[str | None] = SimpleQueue()

    def put(self, value: torch.Tensor) -> None:
        if not self._started:  # the token that the decoder starts with
            self._started = True
            return
        self._ids += value.reshape(-1).tolist()
        text = _decoded(self._tokenizer, self._ids)
        if not text.endswith(HALF):
            self._tell(text)

    def end(self) -> None:
        """Called more than once: by transformers, and when it failed."""
        try:
            self._tell(_decoded(self._tokenizer, self._ids))
        finally:
            self._queue.put(None)

    def __iter__(self) -> Iterator[str]:
        while (piece := self._queue.get()) is not None:
            yield piece

    def _tell(self, text: str) -> None:
        if len(text) > self._told:
            self._queue.put(text[self._told :])
            self._told = len(text)


def generate(loaded: LoadedModel, rows: Sequence[Row], extras: Extras) -> list[Made | HostFailed]:
    """What the model makes of each row, in order; rows of the same number of beams go together."""
    made: dict[int, Made | HostFailed] = {}
    for beams in sorted({row.beams for row in rows}):
        alike = [number for number, row in enumerate(rows) if row.beams == beams]
        for start in range(0, len(alike), ROWS):
            taken = alike[start : start + ROWS]
            made.update(zip(taken, _batch(loaded, [rows[number] for number in taken], extras), strict=True))
    return [made[number] for number in range(len(rows))]


def stream(loaded: LoadedModel, row: Row, extras: Extras) -> Iterator[str]:
    """The row's answer in pieces. The model works in a thread, and stops at the next token when the reader has gone."""
    closed = threading.Event()
    pieces = _Pieces(loaded.tokenizer)
    failed: list[BaseException] = []
    watched = Row(
        prompt=row.prompt, most=row.most, gone=lambda: closed.is_set() or (row.gone is not None and row.gone())
    )

    def work() -> None:
        try:
            try:
                _run(loaded, encoded(loaded, [row.prompt], extras), [watched], streamer=pieces)
            finally:
                pieces.end()
        except BaseException as error:  # noqa: BLE001 - raised again where the pieces are read
            failed.append(error)

    thread = threading.Thread(target=work, name="local-stream", daemon=True)
    thread.start()
    try:
        yield from pieces
    finally:
        closed.set()
        thread.join()
    if failed:
        raise failed[0]


def encoded(loaded: LoadedModel, texts: Sequence[str], extras: Extras) -> Encoded:
    """Token ids and mask on the model's device, padded: (texts, tokens) each, and what the kind wants beside them.

    Text that looks like a special token ("</s>") stays text.
    """
    words = loaded.tokenizer(
        list(texts),
        padding=True,
        pad_to_multiple_of=loaded.window,
        return_tensors="pt",
        split_special_tokens=True,
    )
    batch = {name: words[name].to(loaded.device) for name in ("input_ids", "attention_mask")}
    return {**batch, **extras(batch)}


def tokens_of(loaded: LoadedModel, text: str) -> int:
    """The text's length in tokens, without those that every text gets."""
    return len(loaded.tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False).input_ids)


def _batch(loaded: LoadedModel, rows: Sequence[Row], extras: Extras) -> list[Made | HostFailed]:
    batch = encoded(loaded, [row.prompt for row in rows], extras)
    out = _run(loaded, batch, rows)  # (rows, tokens)
    ends = {loaded.tokenizer.eos_token_id, loaded.tokenizer.pad_token_id}
    given = batch["attention_mask"].sum(dim=1).tolist()
    return [
        _made(loaded, ids[1:], row, ends, tokens) for ids, row, tokens in zip(out.tolist(), rows, given, strict=True)
    ]


def _made(loaded: LoadedModel, ids: list[int], row: Row, ends: set[int | None], given: int) -> Made | HostFailed:
    if row.gone is not None and row.gone():
        return HostFailed(Trouble.CANCELLED, "nobody waits for the answer any more")
    end = next((at for at, token in enumerate(ids) if token in ends), len(ids))
    text = _decoded(loaded.tokenizer, ids[: min(end, row.most)])
    return Made(
        text=text,
        input_tokens=int(given),
        output_tokens=min(end, row.most),
        finish_reason="stop" if end < min(len(ids), row.most) else "length",
    )


def _decoded(tokenizer: Any, ids: Sequence[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text


def _run(loaded: LoadedModel, batch: Encoded, rows: Sequence[Row], **how: Any) -> torch.Tensor:
    with torch.inference_mode():
        out: torch.Tensor = loaded.model.generate(
            **batch,
            **how,
            do_sample=False,
            num_beams=rows[0].beams,
            max_new_tokens=max(row.most for row in rows),
            stopping_criteria=StoppingCriteriaList([_Ends(rows)]),
        )
    return out
