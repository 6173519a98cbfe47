"""Options of a call: wrong ones are told, and none costs more than is put aside."""

from __future__ import annotations

import math
from typing import Any

import pytest

from crew_moe.errors import InvalidRequest
from crew_moe.execution.options import check_messages, checked


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_output_tokens", 0),
        ("max_output_tokens", -5),
        ("max_output_tokens", True),
        ("max_output_tokens", math.nan),
        ("max_output_tokens", "5"),
        ("temperature", "hot"),
        ("temperature", math.nan),
        ("temperature", -0.1),
        ("stop", 5),
        ("stop", [None]),
        ("seed", "x"),
        ("tools", "x"),
        ("tools", [1]),
        ("tool_choice", 5),
        ("response_format", "json"),
        ("response_format", {"type": "json_schema", "json_schema": 5}),
        ("extra", "n"),
        ("extra", {1: 2}),
        ("extra", {"modalities": 5}),
        ("extra", {"service_tier": ["auto"]}),
        ("extra", {"n": 2}),
        ("extra", {"stream": True}),
    ],
)
def test_a_wrong_option_is_told_by_its_name(name: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        checked({name: value})
    assert caught.value.where == name


def test_what_is_told_of_a_wrong_option_holds_no_words_of_it() -> None:
    with pytest.raises(InvalidRequest, match=r"^tools: this str is not what it takes; allowed: ") as caught:
        checked({"tools": "ann@x.org"})
    assert "ann" not in str(caught.value)


def test_good_options_stay_and_a_single_stop_is_one() -> None:
    given: dict[str, Any] = {"max_output_tokens": 5, "temperature": 0, "stop": "END", "seed": None, "extra": {"n": 1}}

    assert checked(given) == {"max_output_tokens": 5, "temperature": 0, "stop": ("END",), "extra": {"n": 1}}


@pytest.mark.parametrize("messages", ["hi", 5, [1], [{"role": "assistant", "tool_calls": [5]}], [{"tool_calls": 5}]])
def test_what_are_no_messages_is_told(messages: object) -> None:
    with pytest.raises(InvalidRequest, match=r"^messages: no messages"):
        check_messages(messages)
