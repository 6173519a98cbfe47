"""What every Host does, whatever stands behind it."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from crew_moe.domain.local_work import Loaded, Made, Trouble, Work
from crew_moe.errors import HostFailed
from crew_moe.ports import Host
from tests.contracts.hosted import MOST_CHARS, Opened, experts_folder, host, opened
from tests.local_gate.hosts.weights_folders import tiny

__all__ = ["experts_folder", "host", "opened", "tiny"]  # fixtures

SECRET = "zanzibar"
REPORT = "The pump failed at noon. The door is red. Nobody saw the valve."


def text_of(answer: Made | HostFailed) -> str:
    assert isinstance(answer, Made), answer
    return answer.text


def trouble_of(answer: Made | HostFailed) -> Trouble:
    assert isinstance(answer, HostFailed), answer
    assert SECRET not in str(answer)
    trouble: Trouble = answer.trouble
    return trouble


def test_opened_host_is_cold_and_says_so(opened: Opened) -> None:
    cold = opened()

    assert (cold.version, cold.health().state) == ("", Loaded.COLD)


def test_loaded_host_is_ready_under_its_version_however_often_it_is_loaded(host: Host) -> None:
    version = host.version

    host.load()

    health = host.health()
    assert version
    assert (host.version, health.version, health.state, health.name) == (version, version, Loaded.READY, host.name)


def test_two_hosts_of_the_same_are_of_one_version(opened: Opened, host: Host) -> None:
    other = opened()
    other.load()

    assert other.version == host.version


def test_host_takes_at_least_one_call_at_once(host: Host) -> None:
    assert host.concurrent >= 1
    assert host.takes_chats in (True, False)


def test_answers_come_in_the_order_of_the_texts_and_are_always_the_same(host: Host) -> None:
    texts = [REPORT, "Is the valve open?", "x"]

    together = [text_of(answer) for answer in host.process([Work(text=text) for text in texts])]

    assert together == [text_of(host.process([Work(text=text)])[0]) for text in texts]
    assert all(together)


def test_no_texts_have_no_answers(host: Host) -> None:
    assert list(host.process([])) == []


def test_text_that_is_too_long_is_refused_in_its_place(host: Host) -> None:
    long = SECRET * MOST_CHARS

    first, refused, last = host.process([Work(text="x"), Work(text=long), Work(text=REPORT)])

    assert trouble_of(refused) is Trouble.INPUT_TOO_LONG
    assert f"{len(long):,}" in str(refused)
    assert f"{MOST_CHARS:,}" in str(refused)
    assert text_of(first)
    assert text_of(last)


def test_half_a_character_is_refused_in_its_place(host: Host) -> None:
    refused, fine = host.process([Work(text=f"{SECRET} \ud83d"), Work(text=REPORT)])

    assert trouble_of(refused) is Trouble.INVALID_INPUT
    assert text_of(fine)


@pytest.mark.parametrize("text", ["naïve 漢字 🙂", "</s> <pad> <unk>", "\0\x01\n\t", "   "])
def test_odd_characters_are_texts_too(host: Host, text: str) -> None:
    assert isinstance(host.process([Work(text=text)])[0], Made)
    assert host.embed([text]).shape[0] == 1


def test_unknown_option_is_refused_with_those_that_there_are(host: Host) -> None:
    (refused,) = host.process([Work(text=SECRET, options={"wishes": 3})])

    assert trouble_of(refused) is Trouble.INVALID_INPUT
    assert "'wishes'" in str(refused)
    assert "allowed: " in str(refused)


def test_answer_ends_where_the_caller_wants(host: Host) -> None:
    (made,) = host.process([Work(text=REPORT, max_output_tokens=1)])

    assert isinstance(made, Made)
    assert made.output_tokens <= 1


def test_embeddings_are_rows_of_length_one(host: Host) -> None:
    rows = host.embed([REPORT, "x", ""])

    assert rows.dtype == np.float32
    assert rows.shape == (3, rows.shape[1])
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=1e-5)
    for row, text in zip(rows, (REPORT, "x", ""), strict=True):
        assert row == pytest.approx(host.embed([text])[0], abs=1e-4)


def test_text_that_is_too_long_has_no_embedding(host: Host) -> None:
    with pytest.raises(HostFailed) as refused:
        host.embed(["x", SECRET * MOST_CHARS])

    assert trouble_of(refused.value) is Trouble.INPUT_TOO_LONG


def test_pieces_of_a_stream_are_the_answer(host: Host) -> None:
    assert "".join(host.stream(Work(text=REPORT))) == text_of(host.process([Work(text=REPORT)])[0])


def test_stream_may_be_left_at_any_time(host: Host) -> None:
    pieces = host.stream(Work(text=REPORT))

    first = list(islice(pieces, 1))
    pieces.close()  # type: ignore[attr-defined]  # all are generators

    assert first
    assert text_of(host.process([Work(text=REPORT)])[0])


def test_stream_of_a_text_that_is_too_long_is_refused(host: Host) -> None:
    with pytest.raises(HostFailed) as refused:
        list(host.stream(Work(text=SECRET * MOST_CHARS)))

    assert trouble_of(refused.value) is Trouble.INPUT_TOO_LONG


def test_unloaded_host_is_cold_and_can_be_loaded_again(host: Host) -> None:
    before = text_of(host.process([Work(text=REPORT)])[0])

    host.unload()
    host.unload()

    assert (host.version, host.health().state) == ("", Loaded.COLD)
    host.load()
    assert text_of(host.process([Work(text=REPORT)])[0]) == before
