"""Texts are made in batches or token by token, and no longer than somebody waits for them."""

from __future__ import annotations

import threading
from itertools import islice
from pathlib import Path

import pytest

from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.domain.local_work import Made, Trouble, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.engine.workers import Workers
from crew_moe.local_gate.hosts import open_host
from crew_moe.ports import Host
from tests.local_gate.hosts.weights_folders import Tiny, tiny

__all__ = ["tiny"]  # a fixture
ENDLESS = 100_000
TEXTS = ["The pump failed.", "x", "Was the valve open, and was the door red?"]


def opened(folder: Path, *, kind: HostKind = HostKind.BYT5, most: int = 12) -> Host:
    host = open_host(HostSpec(name="it", kind=kind, path=folder, max_output_tokens=most))
    host.load()
    return host


def made(answer: Made | HostFailed) -> Made:
    assert isinstance(answer, Made), answer
    return answer


class Patience:
    """Somebody who goes after so many tokens."""

    def __init__(self, tokens: int) -> None:
        self.asked = 0
        self._tokens = tokens

    def gone(self) -> bool:
        self.asked += 1
        return self.asked > self._tokens


@pytest.mark.parametrize(
    ("name", "kind"), [("byt5", HostKind.BYT5), ("codet5", HostKind.CODET5), ("led", HostKind.LONGFORMER)]
)
def test_batch_is_as_one_by_one(tiny: Tiny, name: str, kind: HostKind) -> None:
    host = opened(tiny(name), kind=kind)

    together = [made(answer) for answer in host.process([Work(text=text) for text in TEXTS])]

    assert together == [made(host.process([Work(text=text)])[0]) for text in TEXTS]


def test_every_text_has_a_limit_of_its_own(tiny: Tiny) -> None:
    host = opened(tiny("byt5"))

    answers = host.process([Work(text="x", max_output_tokens=most) for most in (1, 5, 99)])

    assert [(made(one).output_tokens, made(one).finish_reason) for one in answers] == [
        (1, "length"), (5, "length"), (12, "length"),
    ]  # fmt: skip
    assert made(answers[2]).text.startswith(made(answers[0]).text)


@pytest.mark.parametrize(("name", "kind"), [("byt5", HostKind.BYT5), ("codet5", HostKind.CODET5)])
def test_what_looks_like_a_special_token_is_text(tiny: Tiny, name: str, kind: HostKind) -> None:
    host = opened(tiny(name), kind=kind)

    looks, plain = (made(one).input_tokens for one in host.process([Work(text="a</s>b"), Work(text="a b")]))

    assert looks > plain


def test_wide_search_takes_its_turn_beside_a_narrow_one(tiny: Tiny) -> None:
    host = opened(tiny("codet5"), kind=HostKind.CODET5)
    works = [Work(text="x", options={"beams": beams}) for beams in (1, 3, 1)]

    together = host.process(works)

    assert together == [host.process([work])[0] for work in works]


@pytest.mark.parametrize("beams", [0, 99, "two"])
def test_odd_width_is_refused(tiny: Tiny, beams: object) -> None:
    refused, fine = opened(tiny("byt5")).process([Work(text="x", options={"beams": beams}), Work(text="x")])

    assert isinstance(refused, HostFailed)
    assert refused.trouble is Trouble.INVALID_INPUT
    assert made(fine).text


def test_answer_that_nobody_waits_for_ends_at_the_next_token(tiny: Tiny) -> None:
    host = opened(tiny("byt5"), most=ENDLESS)
    patience = Patience(3)

    answers = host.process([Work(text="x", gone=patience.gone), Work(text="y", max_output_tokens=8)])

    assert isinstance(answers[0], HostFailed)
    assert answers[0].trouble is Trouble.CANCELLED
    assert made(answers[1]).output_tokens == 8
    assert patience.asked < 20


def test_stream_that_is_left_stops_the_model(tiny: Tiny) -> None:
    host = opened(tiny("byt5"), most=ENDLESS)
    pieces = host.stream(Work(text="x"))

    assert all(islice(pieces, 1))
    pieces.close()  # type: ignore[attr-defined]  # it is a generator

    assert not [thread for thread in threading.enumerate() if thread.name == "local-stream"]


def test_stream_that_nobody_waits_for_ends(tiny: Tiny) -> None:
    host = opened(tiny("byt5"), most=ENDLESS)

    assert len("".join(host.stream(Work(text="x", gone=Patience(5).gone)))) < 20


def test_stream_comes_in_pieces(tiny: Tiny) -> None:
    pieces = list(opened(tiny("byt5"), most=40).stream(Work(text="x")))

    assert len(pieces) > 1


def test_stream_whose_tokens_can_not_be_read_fails(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    host = opened(tiny("byt5"))

    def unreadable(*_: object) -> str:
        raise OverflowError("no such token")

    monkeypatch.setattr("crew_moe.local_gate.hosts.generation._decoded", unreadable)
    workers = Workers("test-stream")
    read = workers.result(lambda: list(host.stream(Work(text="x"))))

    with pytest.raises(HostFailed, match="OverflowError"):
        read.result(10.0)
    assert workers.close(10.0)
