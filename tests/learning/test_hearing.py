"""What was heard of an answer: one reward of all parts, whatever their order, and no voice beyond its share."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.policy import RewardPolicy
from crew_moe.errors import StateError
from crew_moe.learning import hearings
from crew_moe.learning.hearing import MAX_VOICES, Hearing, Worth
from crew_moe.learning.hearings import ANSWERS, Heard, Hearings
from crew_moe.learning.rewards import Facts, Rewards
from crew_moe.state.memory.pages import MemoryPages
from tests.state.given import NOW, STEADY

REWARDS = Rewards(RewardPolicy())
WORKED = Facts(success=True)
SAID = st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0))


def _rated(quality: float) -> Facts:
    return Facts(quality=quality)


def test_a_call_that_worked_counts_until_somebody_judges_it() -> None:
    served = Hearing().served(WORKED, 0.0)

    assert served.worth(REWARDS) == Worth(1.0, 1.0)
    assert served.judged("a", _rated(0.25), 1.0).worth(REWARDS) == Worth(1.0, 0.25)
    assert served.judged("a", _rated(0.0), 0.5).worth(REWARDS) == Worth(1.0, 0.5)


def test_an_unjudged_answer_is_as_good_as_expected_and_a_failure_is_not() -> None:
    worked = Hearing().served(Facts(expert_id="o1", success=True), 0.0)
    failed = Hearing().served(Facts(expert_id="o1", success=False), 0.0)

    assert (worked.worth(REWARDS, 0.6), failed.worth(REWARDS, 0.6)) == (Worth(1.0, 0.6), Worth(1.0, 0.0))
    assert worked.judged("a", _rated(1.0), 0.5).worth(REWARDS, 0.6) == pytest.approx((1.0, 0.8))


def test_a_judge_without_room_does_not_turn_an_answer_into_praise() -> None:
    worked = Hearing().served(Facts(expert_id="o1", success=True), 0.0)

    assert worked.judged("a", _rated(0.1), 0.0).worth(REWARDS, 0.6) == Worth(1.0, 0.6)


def test_a_judgement_alone_weighs_as_much_as_its_share() -> None:
    judged = Hearing().judged("a", _rated(0.8), 0.25)

    assert judged.worth(REWARDS) == pytest.approx((0.25, 0.8))
    assert Hearing().worth(REWARDS) == Worth(0.0, 0.0)
    assert Hearing().judged("a", _rated(0.8), 0.0) == Hearing()


def test_voices_are_averaged_by_their_shares() -> None:
    hearing = Hearing().judged("a", _rated(1.0), 1.0).judged("b", _rated(0.0), 1.0).judged("c", _rated(0.5), 0.5)

    assert hearing.worth(REWARDS) == pytest.approx((1.0, 0.5))


def test_only_so_many_voices_are_heard() -> None:
    hearing = Hearing()
    for number in range(MAX_VOICES + 5):
        hearing = hearing.judged(f"v{number}", _rated(0.5), 1.0)

    assert len(hearing.voices) == MAX_VOICES


@STEADY
@given(st.lists(SAID, max_size=6), SAID, st.booleans())
def test_one_voice_moves_the_reward_by_its_share_at_most(
    others: list[tuple[float, float]], said: tuple[float, float], served: bool
) -> None:
    hearing = Hearing().served(WORKED, 0.0) if served else Hearing()
    for number, (quality, share) in enumerate(others):
        hearing = hearing.judged(f"v{number}", _rated(quality), share)
    before, after = hearing.worth(REWARDS), hearing.judged("poison", _rated(said[0]), said[1]).worth(REWARDS)

    assert 0.0 <= before.weight <= after.weight <= before.weight + said[1] + 1e-9
    assert abs(after.weight * after.value - before.weight * before.value) <= said[1] + 1e-9


@STEADY
@given(st.permutations(range(4)))
def test_the_order_of_parts_does_not_matter(order: list[int]) -> None:
    parts = [
        lambda one: one.served(WORKED, 0.25),
        lambda one: one.judged("a", _rated(0.5), 1.0),
        lambda one: one.judged("b", Facts(outcome="failure"), 0.5),
        lambda one: one.judged("c", Facts(rating=5), 0.25),
    ]
    hearing = Hearing()
    for place in order:
        hearing = parts[place](hearing)

    assert hearing.worth(REWARDS) == pytest.approx((1.0, (0.5 + 0.25) / 1.75))
    assert Hearing.of_row(hearing.as_row()) == hearing


def _judge(store: Hearings, decision_id: str, age_s: float = 0.0) -> Heard | None:
    decided_at = NOW - timedelta(seconds=age_s)
    return store.change(decision_id, "o1", decided_at, lambda one: one.judged("a", _rated(0.5), 1.0), NOW)


def test_an_answer_is_remembered_over_parts() -> None:
    store = Hearings(MemoryPages())

    first, again = _judge(store, "d1"), _judge(store, "d1")

    assert first is not None
    assert again is not None
    assert first.before == Hearing()
    assert again.before == again.after == first.after


def test_what_newer_answers_pushed_out_is_not_heard_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearings, "FOLDERS", 1)
    pages = MemoryPages()
    store = Hearings(pages)
    for number in range(ANSWERS + 3):
        assert _judge(store, f"d{number}", age_s=100.0 - number) is not None

    assert _judge(store, "d0", age_s=100.0) is None
    assert _judge(store, "never heard of, and older", age_s=500.0) is None
    assert _judge(store, f"d{ANSWERS}", age_s=100.0 - ANSWERS) is not None
    assert _judge(store, "new", age_s=0.0) is not None
    assert len(pages.pages("", NOW)) == 1


def test_a_page_of_something_else_is_an_error_of_the_state() -> None:
    pages = MemoryPages()
    store = Hearings(pages)
    _judge(store, "d1")
    page = pages.pages("", NOW)[0]
    for content in (b"{", b"[1]", b'["", {"d1/o1": ["2026", [1]]}]'):
        over = pages.pages("", NOW)[0].version
        pages.write(page.name, content, NOW, over=over)
        with pytest.raises(StateError, match="what was heard"):
            _judge(store, "d1")
