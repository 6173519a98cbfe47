"""What a call may cost is known before it is made."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from crew_moe.domain.chat import ChatReply, ChatRequest
from crew_moe.domain.price import Details, PriceList
from crew_moe.domain.usage import Usage
from crew_moe.execution.plan import output_cap, wanted_output
from crew_moe.execution.spend import MAX_IMAGE_TOKENS, Size, estimated_usage, size_of, worst_nano
from tests.execution.given import CHAT, EXPERT, LIMITS, route

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}


def test_bound_is_no_less_than_a_token_per_byte_of_everything_sent() -> None:
    text, tool = "é" * 100, {"function": {"name": "look"}}
    chat = ChatRequest(messages=[{"role": "user", "content": text}], tools=[tool])

    assert size_of(chat).bound > len(text.encode()) + len(str(tool)) > 200


def test_image_counts_as_an_image_not_by_its_bytes() -> None:
    size = size_of(ChatRequest(messages=[{"role": "user", "content": [{"type": "text", "text": "Look"}, IMAGE]}]))

    assert (size.images, size.bound - size.bytes) == (1, MAX_IMAGE_TOKENS)
    assert size.bytes < 200


@pytest.mark.parametrize("content", [{"note": "x" * 1_000}, ("x" * 1_000,), b"x" * 1_000])
def test_what_goes_out_as_text_counts_whatever_it_was(content: object) -> None:
    assert size_of(ChatRequest(messages=[{"role": "user", "content": content}])).bound > 1_000


def test_unknown_usage_is_estimated_from_text_and_calls() -> None:
    usage = estimated_usage(size_of(CHAT), ChatReply(text="x" * 40, tool_calls=({"function": {"name": "look"}},)))

    assert usage.input_tokens > 0
    assert usage.output_tokens > 10


def test_output_is_what_is_asked_for_within_what_the_expert_gives() -> None:
    wanted = [
        wanted_output(EXPERT, route(max_output_tokens=cap), replace(CHAT, max_output_tokens=asked), LIMITS)
        for asked, cap in ((None, None), (50, None), (None, 60), (50, 30), (9_999, None))
    ]

    assert wanted == [100, 50, 60, 30, 4_000]


def test_output_is_cut_to_what_the_context_window_leaves() -> None:
    narrow = replace(EXPERT, context_window=60)
    size = size_of(CHAT)

    assert output_cap(narrow, route(), CHAT, LIMITS, size=size) == 60 - size.estimate


@pytest.mark.parametrize(
    ("content", "extra", "audio"),
    [
        ("Sing", {}, False),
        ("Sing", {"modalities": ["text", "audio"]}, True),
        ([{"type": "input_audio", "input_audio": {"data": "UklGRg=="}}], {}, True),
        ([IMAGE], {"modalities": None}, False),
    ],
)
def test_audio_is_noticed_whether_sent_or_wanted(content: object, extra: dict[str, object], audio: bool) -> None:
    assert size_of(ChatRequest(messages=[{"role": "user", "content": content}], extra=extra)).audio is audio


def test_what_else_is_sent_counts_too() -> None:
    assert size_of(replace(CHAT, extra={"functions": "x" * 100})).bytes > size_of(CHAT).bytes + 100


def test_worst_case_knows_of_images_and_audio() -> None:
    details = Details(input_image_usd_per_mtok=Decimal(5), output_audio_usd_per_mtok=Decimal(80))
    expert = replace(EXPERT, prices=PriceList(details=details))
    plain, seen, heard = Size(bytes=10, images=0), Size(bytes=10, images=1), Size(bytes=10, images=0, audio=True)

    assert worst_nano(expert, plain, 100) == 10 * 1_000 + 100 * 10_000
    assert worst_nano(expert, seen, 100) == 50_010 * 5_000 + 1 + 100 * 10_000
    assert worst_nano(expert, heard, 100) == 10 * 1_000 + 100 * 80_000 + 1


def test_estimate_counts_nothing_for_silence() -> None:
    assert estimated_usage(size_of(CHAT), ChatReply(text="")) == Usage(input_tokens=size_of(CHAT).estimate)
