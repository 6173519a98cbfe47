"""The local gate serves and refuses as it says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crew_moe.domain.chat import ChatRequest
from crew_moe.domain.expert import Tier
from crew_moe.domain.hosting import HostKind, HostSpec, LocalPlan
from crew_moe.domain.local_work import Asked, Loaded, LocalRefusal, LocalTask, Trouble
from crew_moe.local_gate.serving import LocalGate
from crew_moe.state.memory.log import MemoryLog
from tests.local_gate.engine_hosts import (
    Events,
    FixedGate,
    Held,
    Upper,
    as_host,
    opened,
    out_of_order,
    processed,
    refusal,
    spec,
)


@pytest.fixture
def failing() -> Upper:
    """Liked best by the gate, where it stands first; it never answers."""
    return Upper("failing", act=out_of_order)


async def test_named_expert_answers_with_full_confidence(local: LocalGate) -> None:
    answer = processed(await local.process(Asked(text="hello", expert="upper")))

    assert (answer.result, answer.expert_used, answer.confidence) == ("HELLO", "upper", 1.0)
    assert answer.input_features["chars"] == 5.0


async def test_gate_chooses_where_none_is_named(local: LocalGate) -> None:
    answer = processed(await local.process(Asked(text="hello")))

    assert (answer.expert_used, answer.confidence, answer.tried) == ("upper", 0.5, ())


async def test_text_is_embedded(local: LocalGate) -> None:
    answer = processed(await local.process(Asked(text="aaa", task=LocalTask.EMBED)))

    assert answer.result == pytest.approx((1.0, 0.0033, 0.0033), abs=1e-3)


async def test_expert_gets_its_own_options_under_those_of_the_call(upper: Upper) -> None:
    hosts = {"upper": replace(spec("upper"), options={"style": "short", "beams": 2}, max_output_tokens=50)}
    local = LocalGate.open(LocalPlan(hosts=hosts), hosts={"upper": as_host(upper)}, gate=FixedGate(["upper"]))
    await local.process(Asked(text="a", options={"style": "long"}))
    await local.process(Asked(text="b", options={"max_output_tokens": 7}))
    await local.aclose()

    told = [(work.options, work.max_output_tokens) for work in upper.works]
    assert told == [({"style": "long", "beams": 2}, 50), ({"style": "short", "beams": 2}, 7)]


async def test_unknown_expert_is_told_with_its_nearest(local: LocalGate) -> None:
    refused = refusal(await local.process(Asked(text="hello", expert="uper")))

    assert (refused.trouble, refused.allowed) == (Trouble.UNKNOWN_EXPERT, ("upper",))
    assert "did you mean 'upper'?" in refused.what


@pytest.mark.parametrize(
    ("text", "trouble", "what"),
    [
        ("", Trouble.INVALID_INPUT, "the text is empty"),
        (" \n\t", Trouble.INVALID_INPUT, "the text is empty"),
        ("secret\0", Trouble.INVALID_INPUT, "the text holds a NUL character at position 6"),
        ("secret\ud800", Trouble.INVALID_INPUT, "the text holds half a surrogate pair at position 6"),
        (b"secret", Trouble.INVALID_INPUT, "the text must be a string, not bytes"),
        ("x" * 10_001, Trouble.INPUT_TOO_LONG, "the text has 10,001 characters; at most 10,000 are taken"),
        ("x" * 10_000_000, Trouble.INPUT_TOO_LONG, "the text has 10,000,000 characters"),
    ],
    ids=["empty", "blank", "nul", "surrogate", "bytes", "long", "10 MB"],
)
@pytest.mark.parametrize("expert", [None, "upper"])
async def test_text_that_nobody_can_read_is_refused(
    local: LocalGate, upper: Upper, text: Any, trouble: Trouble, what: str, expert: str | None
) -> None:
    refused = refusal(await local.process(Asked(text=text, expert=expert)))

    assert (refused.trouble, upper.batches) == (trouble, [])
    assert refused.what.startswith(what)
    assert "secret" not in repr(refused)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan"), float("inf")])
async def test_time_that_is_none_is_refused(local: LocalGate, timeout_s: float) -> None:
    refused = refusal(await local.process(Asked(text="hello", timeout_s=timeout_s)))

    assert refused.trouble is Trouble.INVALID_INPUT


@pytest.mark.parametrize("most", [0, -1, 1.5, "7", True])
async def test_length_of_an_answer_that_is_none_is_refused(local: LocalGate, most: object) -> None:
    refused = refusal(await local.process(Asked(text="hello", options={"max_output_tokens": most})))

    assert (refused.trouble, "max_output_tokens" in refused.what) == (Trouble.INVALID_INPUT, True)


async def test_gate_chooses_among_those_that_take_so_long_a_text(upper: Upper) -> None:
    gate = FixedGate(["short", "upper"])
    hosts = {"short": spec("short", max_input_chars=3), "upper": spec("upper")}
    local = LocalGate.open(LocalPlan(hosts=hosts), hosts={"upper": as_host(upper)}, gate=gate)
    answer = processed(await local.process(Asked(text="hello")))
    await local.aclose()

    assert (answer.expert_used, gate.asked) == ("upper", [("upper",)])


async def test_expert_without_weights_is_not_chosen_and_says_why_when_named(upper: Upper, tmp_path: Path) -> None:
    byt5 = HostSpec(name="byt5", kind=HostKind.BYT5, path=tmp_path / "nothing")
    hosts = {"byt5": byt5, "upper": spec("upper")}
    local = LocalGate.open(LocalPlan(hosts=hosts), hosts={"upper": as_host(upper)}, gate=FixedGate(["byt5", "upper"]))
    chosen = processed(await local.process(Asked(text="hello")))
    named = refusal(await local.process(Asked(text="hello", expert="byt5")))
    await local.aclose()

    assert (chosen.expert_used, chosen.tried) == ("upper", ())
    assert named.trouble in {Trouble.MISSING_WEIGHTS, Trouble.MISSING_EXTRA}
    assert named.next_steps


async def test_next_expert_serves_while_the_chosen_one_is_out_of_order(failing: Upper, upper: Upper) -> None:
    local = opened(failing, upper)
    answer = processed(await local.process(Asked(text="hello")))
    await local.aclose()

    assert (answer.expert_used, answer.confidence) == ("upper", 0.25)
    assert answer.tried == (("failing", Trouble.UNAVAILABLE),)


async def test_named_expert_has_no_stand_in(failing: Upper, upper: Upper) -> None:
    local = opened(failing, upper)
    refused = refusal(await local.process(Asked(text="hello", expert="failing")))
    await local.aclose()

    assert (refused.trouble, refused.expert, refused.next_steps) == (Trouble.UNAVAILABLE, "failing", ("start it",))
    assert upper.batches == []


async def test_where_all_fail_the_chosen_one_says_why(failing: Upper) -> None:
    def no_memory(_: Sequence[str]) -> None:
        raise MemoryError

    local = opened(failing, Upper("full", act=no_memory))
    refused = refusal(await local.process(Asked(text="hello")))
    await local.aclose()

    assert (refused.expert, refused.trouble) == ("failing", Trouble.UNAVAILABLE)


async def test_chat_with_tools_goes_to_an_expert_that_takes_chats(upper: Upper) -> None:
    chats = Upper("chats")
    chats.takes_chats = True
    local = opened(upper, chats)
    await asyncio.gather(*(local.process(Asked(text="warm", expert=name)) for name in ("upper", "chats")))
    chat = ChatRequest(messages=[{"role": "user", "content": "hello"}], tools=[{"type": "function"}])
    chosen = processed(await local.process(Asked(text="hello", chat=chat)))
    named = refusal(await local.process(Asked(text="hello", chat=chat, expert="upper")))
    await local.aclose()

    assert (chosen.expert_used, named.trouble) == ("chats", Trouble.NOT_CAPABLE)


async def test_model_that_hangs_is_given_up_with_advice_and_the_others_go_on() -> None:
    held = Held()
    local = opened(Upper("hangs", act=held), Upper())
    refused = refusal(await local.process(Asked(text="hello", expert="hangs", timeout_s=0.05)))
    other = processed(await local.process(Asked(text="hello", expert="upper")))
    held.go.set()
    await local.aclose()

    assert (refused.trouble, other.result) == (Trouble.TIMEOUT, "HELLO")
    assert refused.next_steps == (
        "break the text into smaller parts",
        "try again at a less busy time",
        "use a different model",
    )


async def test_model_that_raises_leaves_the_gate_healthy(local: LocalGate, upper: Upper) -> None:
    def fail(_: Sequence[str]) -> None:
        raise ZeroDivisionError

    upper.act = fail
    refused = refusal(await local.process(Asked(text="hello", expert="upper")))
    upper.act = None

    assert refused.trouble is Trouble.MODEL_FAILED
    assert processed(await local.process(Asked(text="hello"))).result == "HELLO"
    assert local.health().hosts["upper"].state is Loaded.READY


async def test_events_tell_what_happened_and_nothing_of_the_text(failing: Upper, upper: Upper) -> None:
    events = Events()
    local = opened(failing, upper, sink=events)
    await local.process(Asked(text="secret"))
    await local.aclose()

    assert events.names() == ["local_loaded", "local_failed", "local_switched", "local_loaded"]
    assert "secret" not in repr(events.told)


async def test_log_is_told_who_was_chosen_and_who_served(failing: Upper, upper: Upper) -> None:
    log = MemoryLog()
    local = opened(failing, upper, log=log)
    answer = processed(await local.process(Asked(text="secret")))
    await local.aclose()

    choice, served = log.get(answer.decision_id), log.get(f"{answer.decision_id}/served/1")
    assert choice is not None
    assert served is not None
    assert (choice["expert"], served["expert_id"], served["success"]) == ("failing", "upper", True)
    assert "secret" not in repr((choice, served))


async def test_choice_is_told_without_asking_anybody(local: LocalGate, upper: Upper) -> None:
    choice = await asyncio.to_thread(local.choose, Asked(text="hello"))

    assert not isinstance(choice, LocalRefusal)
    assert (choice.expert, upper.loads) == ("upper", 0)


async def test_nothing_leaves_the_process(upper: Upper, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object) -> None:
        raise AssertionError("a socket was connected")

    monkeypatch.setattr(socket.socket, "connect", nobody)
    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    local = opened(upper)
    answers = [await local.process(Asked(text="hello", tier=tier)) for tier in Tier]
    await local.aclose()

    assert all(answer.ok for answer in answers)
