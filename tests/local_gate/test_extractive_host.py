"""The extractive expert behind the host's seam: texts, chats, sentences, and embeddings by words."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from crew_moe.domain.chat import ChatRequest
from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.domain.local_work import Loaded, Made, Trouble, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.hosts import open_host
from crew_moe.ports import Host


@pytest.fixture
def host() -> Host:
    made = open_host(HostSpec(name="extractive", kind=HostKind.EXTRACTIVE, max_input_chars=10_000_000))
    made.load()
    return made


def made(answer: Made | HostFailed) -> Made:
    assert isinstance(answer, Made), answer
    return answer


def test_summary_is_of_the_texts_own_sentences(host: Host, document: str) -> None:
    text = made(host.process([Work(text=f"Summarize this report: {document}")])[0]).text

    assert 50 < len(text) < len(document) / 2


def test_so_many_sentences_as_were_asked_for(host: Host, report: str) -> None:
    text = made(host.process([Work(text=report, options={"sentences": 2})])[0]).text

    assert 1 <= text.count(".") <= 4
    assert set(text.split()) <= set(report.split())


@pytest.mark.parametrize("count", [0, 1000, "two"])
def test_odd_number_of_sentences_is_refused(host: Host, count: object) -> None:
    (refused,) = host.process([Work(text="x", options={"sentences": count})])

    assert isinstance(refused, HostFailed)
    assert refused.trouble is Trouble.INVALID_INPUT


def test_chat_is_answered_as_a_chat(host: Host) -> None:
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
    chat = ChatRequest(messages=[{"role": "user", "content": "Look it up. The pump failed."}], tools=[tool])

    answer = made(host.process([Work(text="The pump failed.", chat=chat)])[0])

    assert host.takes_chats
    assert answer.reply is not None
    assert answer.reply.text == answer.text


def test_millions_of_characters_are_answered(host: Host) -> None:
    answer = made(host.process([Work(text="The pump failed at noon. " * 200_000)])[0])

    assert answer.text
    assert answer.input_tokens > 1_000_000


def test_texts_that_share_words_are_near(host: Host) -> None:
    one, near, far = host.embed(["The pump failed at noon.", "At noon the pumps failed", "Invoice 17 is due"])

    assert float(one @ near) > 0.6 > 0.3 > float(one @ far)
    assert np.array_equal(host.embed(["x"]), host.embed(["x"]))


def test_missing_library_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "summa"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "summa", None)
    cold: Any = open_host(HostSpec(name="extractive", kind=HostKind.EXTRACTIVE))

    with pytest.raises(HostFailed) as failed:
        cold.load()

    assert failed.value.trouble is cold.health().trouble is Trouble.MISSING_EXTRA
    assert cold.health().state is Loaded.FAILED
