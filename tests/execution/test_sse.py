"""Server-sent events come out whole, wherever the network cut them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crew_moe.execution.sse import EventDecoder


def decoded(*pieces: bytes) -> list[str]:
    decoder = EventDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.finish()


def test_comments_and_other_fields_are_dropped() -> None:
    assert decoded(b": keep-alive\n\nevent: message\nid: 7\ndata: x\nretry: 10\n\n") == ["x"]


def test_lines_of_one_event_are_joined() -> None:
    assert decoded(b"data: a\ndata:b\ndata:  c\n\n") == ["a\nb\n c"]


def test_every_line_end_and_a_byte_order_mark_are_understood() -> None:
    assert decoded(b"\xef\xbb\xbfdata: a\r\n\r\ndata: b\r\rdata: c\n\n") == ["a", "b", "c"]


def test_last_event_without_its_empty_line_counts() -> None:
    assert decoded(b"data: a\n\ndata: b") == ["a", "b"]


def test_carriage_return_at_the_end_of_a_piece_waits_for_its_other_half() -> None:
    assert decoded(b"data: a\r", b"\ndata: b\r\n\r", b"\ndata: c\r\n\r\n") == ["a\nb", "c"]


@given(
    texts=st.lists(st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), min_size=1)),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    cuts=st.lists(st.integers(1, 9)),
)
def test_cuts_of_the_network_change_nothing(texts: list[str], end: str, cuts: list[int]) -> None:
    stream = "".join(f"data: {text}{end}{end}" for text in texts).encode()
    pieces, start = [], 0
    for size in [*cuts, len(stream)]:
        pieces.append(stream[start : start + size])
        start += size

    assert decoded(*pieces) == texts
