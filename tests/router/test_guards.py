"""What stands between a decision and a call: what the gate is told, and what holds when a store is lost."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from crew_moe import ExecutionFailed, Router
from crew_moe.clock import SystemClock
from crew_moe.domain.chat import ChatRequest
from crew_moe.domain.expert import Tier
from crew_moe.domain.principal import Principal
from crew_moe.execution.screened import Screened
from crew_moe.guards import opening_of
from crew_moe.sim import Simulation, simulate
from tests.redis_server import RedisServer
from tests.router.ruled import answered, asked, events, failed, ruled
from tests.waiting import until

ANN: Final = Principal(subject="ann", tenant="acme", roles=frozenset({"lead"}), workspace="guild", channel="general")
CHAT: Final = ChatRequest(messages=({"role": "user", "content": "What do the figures say?"},))
CHECKED: Final = "gate: {checks: [{has_any_role: {roles: [lead]}}]}"


def told(on: Router, chat: ChatRequest = CHAT, principal: Principal | None = None, **fields: Any) -> Any:
    """What the gate would be told of a call."""
    return on.guards.errand(asked(**fields), task="d1", principal=principal, screened=Screened(chat=chat)).context


@pytest.fixture
def on(tmp_path: Path) -> Iterator[Router]:
    with ruled(tmp_path, CHECKED) as router:
        yield router


def test_the_gate_is_told_what_authentication_says(on: Router) -> None:
    context = told(on, principal=ANN, tenant="mallory", user="eve", channel="x", risk="high", budget_usd="0.5")
    assert (context.tenant, context.user, context.roles) == ("acme", "ann", frozenset({"lead"}))
    assert (context.workspace, context.channel, context.risk) == ("guild", "general", "high")
    assert (context.max_cost_usd, context.decision_id) == (Decimal("0.5"), "d1")


def test_a_request_gives_itself_no_role(on: Router) -> None:
    context = told(on, tenant="acme", user="ann", text="roles: [lead]")
    assert (context.tenant, context.user, context.roles) == ("acme", "ann", frozenset())


def test_a_gate_that_nobody_asks_is_told_nothing(tmp_path: Path) -> None:
    with ruled(tmp_path) as on:
        assert not on.guards.asks
        assert told(on) is None


@pytest.mark.parametrize(
    "policy",
    [
        CHECKED,
        "budgets: {on_exhausted: hold}",
        "budgets: {limits: {'run:*': {usd: 1, window: run, on_exhausted: hold}}}",
    ],
)
def test_checks_and_budgets_that_may_be_passed_make_the_gate_ask(policy: str, tmp_path: Path) -> None:
    with ruled(tmp_path, policy) as on:
        assert on.guards.asks
        assert told(on) is not None


def test_a_suspicious_text_is_asked_about_for_every_tier(tmp_path: Path) -> None:
    with ruled(tmp_path) as on:
        screened = Screened(chat=CHAT, hold=frozenset({"m1"}))
        context = on.guards.errand(asked(), task="d1", screened=screened).context
    assert context is not None
    assert context.approval is Tier.FAST


@pytest.mark.parametrize(
    "other",
    [
        ChatRequest(messages=({"role": "user", "content": "What do the figures say"},)),
        ChatRequest(messages=CHAT.messages, tools=({"type": "function", "function": {"name": "wipe"}},)),
        ChatRequest(messages=CHAT.messages, response_format={"type": "json_object"}),
    ],
)
def test_a_question_is_about_exactly_one_chat(other: ChatRequest, on: Router) -> None:
    assert opening_of(CHAT) != opening_of(other)
    assert told(on).digest == told(on).digest != told(on, other).digest


def test_what_a_request_is_named_by_can_not_be_guessed(
    on: Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREW_MOE_LOG_KEY", "a secret")
    with ruled(tmp_path, CHECKED) as keyed:
        assert told(keyed).digest != told(on).digest


# ---- a lost store -------------------------------------------------------------------------------------------------


@pytest.fixture
def sim() -> Iterator[Simulation]:
    with simulate(speed=0) as running:
        yield running


@pytest.fixture
def quiet() -> Iterator[list[MutableMapping[str, Any]]]:
    """The decision log says that it can't store rows; that is not what is looked at here."""
    with capture_logs() as logs:
        yield logs


@pytest.fixture
def remote(mortal_redis: RedisServer, tmp_path: Path, sim: Simulation, quiet: Any) -> Iterator[Router]:
    del quiet
    router = ruled(tmp_path, base_url=sim.base_url, state=mortal_redis.url, clock=SystemClock())
    yield router
    router.close()


PAID: Final = asked(pin="gpt-4o", tenant="acme")
FREE: Final = asked(pin="local/extractive", tenant="acme")


def test_nothing_is_spent_while_the_ledger_is_lost(mortal_redis: RedisServer, remote: Router, sim: Simulation) -> None:
    answered(remote, PAID)
    mortal_redis.kill()

    (attempt,) = failed(remote, PAID).attempts
    assert attempt.error == "over_budget"
    assert "ledger can't be reached" in attempt.detail
    assert answered(remote, FREE).cost_usd == 0
    assert len([one for one in sim.requests if one.expert_id == "gpt-4o"]) == 1
    assert events(remote, "ledger_lost")


def test_experts_without_a_price_go_on_even_where_overdrafts_are_denied(
    mortal_redis: RedisServer, tmp_path: Path, sim: Simulation, quiet: Any
) -> None:
    del quiet
    policy = "budgets: {on_exhausted: deny}"
    with ruled(tmp_path, policy, base_url=sim.base_url, state=mortal_redis.url, clock=SystemClock()) as on:
        mortal_redis.kill()
        request = asked(pin="gpt-4o", fallbacks=["local/extractive"], tenant="acme")
        assert answered(on, request).expert_id == "local/extractive"
        mortal_redis.start()


def test_calls_are_paid_again_once_the_ledger_is_back(mortal_redis: RedisServer, remote: Router) -> None:
    before = answered(remote, PAID)
    mortal_redis.kill()
    failed(remote, PAID)
    mortal_redis.start()

    def serves() -> bool:
        try:
            return bool(answered(remote, PAID).text)
        except ExecutionFailed:
            return False

    until(serves)
    (status,) = remote.budgets.status("tenant:acme")
    assert status.settled_usd == 2 * before.cost_usd


def test_an_answer_that_was_paid_while_the_ledger_went_is_given(
    mortal_redis: RedisServer, remote: Router, sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    client: Any = remote.executor.client
    call = type(client).call

    def die_then_call(self: Any, *args: Any, **options: Any) -> Any:
        mortal_redis.kill()
        return call(self, *args, **options)

    monkeypatch.setattr(type(client), "call", die_then_call)
    assert answered(remote, PAID).text
    assert events(remote, "charge_not_written")
    assert len(sim.requests) == 1
