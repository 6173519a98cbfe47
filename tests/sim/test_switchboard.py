from __future__ import annotations

import threading

import pytest

from crew_moe.domain.registry import Registry
from crew_moe.errors import InvalidInput, UnknownExpert
from crew_moe.sim.switchboard import Queued, Switchboard


@pytest.fixture
def board(registry: Registry) -> Switchboard:
    return Switchboard(registry)


def test_killing_a_provider_kills_its_experts(board: Switchboard, registry: Registry) -> None:
    board.kill("anthropic")

    assert board.is_dead(registry["claude-opus-4"])
    assert not board.is_dead(registry["gpt-4o"])


def test_expert_stays_dead_when_only_its_provider_is_revived(board: Switchboard, registry: Registry) -> None:
    board.kill("openai")
    board.kill("gpt-4o")
    board.revive("openai")

    assert board.is_dead(registry["gpt-4o"])
    assert not board.is_dead(registry["o1"])


def test_unknown_name_gets_the_closest(board: Switchboard) -> None:
    with pytest.raises(InvalidInput, match="did you mean 'anthropic'"):
        board.kill("antropic")
    with pytest.raises(UnknownExpert, match="did you mean 'gpt-4o'"):
        board.enqueue("gpt-4", Queued())


def test_queue_is_first_in_first_out_and_ends(board: Switchboard) -> None:
    for text in ("a", "b"):
        board.enqueue("gpt-4o", Queued(text=text))

    assert [getattr(board.dequeue("gpt-4o"), "text", None) for _ in range(3)] == ["a", "b", None]


def test_short_tool_call_becomes_openais_shape() -> None:
    queued = Queued.of("", [{"name": "search", "arguments": {"query": "x"}}], None, None)

    assert queued.finish_reason == "tool_calls"
    assert queued.tool_calls[0]["function"] == {"name": "search", "arguments": '{"query": "x"}'}


@pytest.mark.usefixtures("restless_threads")
def test_every_call_gets_its_own_number_from_many_threads(board: Switchboard, registry: Registry) -> None:
    numbers: list[int] = []

    def work() -> None:
        numbers.extend(board.count(registry["gpt-4o"])["expert:gpt-4o"] for _ in range(200))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(numbers) == list(range(1, 801))
