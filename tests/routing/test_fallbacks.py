"""Who is tried next, and in which order."""

from __future__ import annotations

from dataclasses import replace

from tests.routing.given import POLICY, board, decided, expert, market

A1 = expert("a1", provider="a", quality=0.9)
A2 = expert("a2", provider="a", quality=0.8)
A3 = expert("a3", provider="a", quality=0.7)
B = expert("b", provider="b", quality=0.6)
C = expert("c", provider="c", quality=0.1)


def test_other_providers_come_first_where_scores_allow() -> None:
    assert decided(board(registry=market(A1, A2, A3, B))).fallbacks == ("b", "a2", "a3")


def test_a_provider_far_behind_does_not_come_first() -> None:
    assert decided(board(registry=market(A1, A2, C))).fallbacks == ("a2", "c")


def test_the_margin_is_the_policy_s() -> None:
    strict = replace(POLICY, limits=replace(POLICY.limits, fallback_margin=0.0))

    assert decided(board(registry=market(A1, A2, A3, B), policy=strict)).fallbacks == ("a2", "a3", "b")


def test_there_are_no_more_than_the_policy_allows() -> None:
    none = replace(POLICY, limits=replace(POLICY.limits, fallbacks=0))

    assert len(decided().fallbacks) == 3
    assert decided(board(policy=none)).fallbacks == ()


def test_the_catalogue_s_own_fallback_comes_first() -> None:
    first = replace(A1, fallback="a3")

    assert decided(board(registry=market(first, A2, A3, B))).fallbacks == ("a3", "b", "a2")


def test_a_list_of_the_user_s_is_taken_as_it_is_less_those_that_may_not_serve() -> None:
    on = board(registry=market(A1, A2, B, C))

    assert decided(on, fallbacks=["c", "a1", "b", "c"], min_quality=0.5).fallbacks == ("b",)
    assert decided(on, fallbacks=[]).fallbacks == ()


def test_a_pinned_request_has_none_but_those_it_names() -> None:
    on = board(registry=market(A1, A2, B))

    assert decided(on, pin="a2").fallbacks == ()
    assert decided(on, pin="a2", fallbacks=["b"]).fallbacks == ("b",)


def test_experts_that_do_not_fit_the_size_are_no_fallbacks() -> None:
    small = replace(B, context_window=1_000)

    assert decided(board(registry=market(A1, A2, small)), context_tokens=5_000).fallbacks == ("a2",)
