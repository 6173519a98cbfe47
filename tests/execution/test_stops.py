"""Stop sequences end an answer at the same place, whole or in pieces."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from crew_moe.execution.stops import StopCutter, cut


def test_text_ends_before_the_stop_that_is_complete_first() -> None:
    assert cut("one END two", ["END", "STOP"]) == "one "
    assert cut("abc", ["abc", "b"]) == "a"
    assert cut("all of it", ["", "nothing"]) == "all of it"


def test_stop_over_two_pieces_is_held_back() -> None:
    cutter = StopCutter(["\nObservation:"])

    assert [cutter.feed("Action\nObs"), cutter.feed("ervation: 1"), cutter.feed("more"), cutter.rest()] == [
        "Action",
        "",
        "",
        "",
    ]


def test_false_alarm_is_given_out_in_the_end() -> None:
    cutter = StopCutter(["\nObservation:"])

    assert [cutter.feed("a\nObs"), cutter.feed("tacle"), cutter.feed("\n"), cutter.rest()] == [
        "a",
        "\nObstacle",
        "",
        "\n",
    ]


LETTERS = st.text("ab", max_size=12)


@given(text=LETTERS, stops=st.lists(st.text("ab", max_size=3), max_size=3), sizes=st.lists(st.integers(1, 4)))
@example(text="abab", stops=["ba", "bab"], sizes=[2])
def test_pieces_give_the_same_as_the_whole(text: str, stops: list[str], sizes: list[int]) -> None:
    cutter = StopCutter(stops)
    given_out, start = "", 0
    for size in [*sizes, len(text)]:
        given_out += cutter.feed(text[start : start + size])
        start += size

    assert given_out + cutter.rest() == cut(text, stops)
