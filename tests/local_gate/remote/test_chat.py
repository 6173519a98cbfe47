"""A streamed answer, wherever the network cuts it."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crew_moe.errors import HostFailed
from crew_moe.local_gate.remote.chat import text_pieces

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=4)


def events(texts: list[str], *, end: str) -> bytes:
    """As servers send them: some escape, some don't, and some end lines as Windows does."""
    told = [json.dumps({"choices": [{"delta": {"content": text}}]}, ensure_ascii=False) for text in texts]
    return "".join(f"data: {one}{end}{end}" for one in [*told, '{"choices": [{"finish_reason": "stop"}]}']).encode()


@given(TEXTS, st.lists(st.integers(0, 500)), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_pieces_are_the_same_wherever_the_network_cuts(texts: list[str], cuts: list[int], end: str, done: bool) -> None:
    body = events(texts, end=end) + (b"data: [DONE]" if done else b"")
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]

    pieces = [body[start:stop] for start, stop in pairwise(edges)]

    assert list(text_pieces(pieces, at="there")) == texts


@given(st.binary(max_size=200))
@example(b"data:[DONE]")
def test_nonsense_is_told_as_a_failure(body: bytes) -> None:
    with pytest.raises(HostFailed):
        list(text_pieces([body, b"\ndata: {\n"], at="there"))
