"""Candidate policies as callers hold them against what was decided for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from crew_moe import Router
from crew_moe.auth.caller import ALL_SCOPES, LOCAL, Caller
from crew_moe.domain.principal import Principal
from crew_moe.domain.service import Registration, accepted
from crew_moe.errors import ConfigError, InvalidRequest
from crew_moe.simulation import Reason
from crew_moe.surface.operations import Operations
from tests.router.given import decided
from tests.router.given import router as made
from tests.routing.given import NOW

NO_CLAUDE: Final = "access: [{name: no claude, forbid: {providers: [anthropic]}}]"
ACME: Final = "access: [{name: acme, forbid: {providers: [anthropic]}, who: {tenants: [acme]}}]"


@pytest.fixture
def router() -> Iterator[Router]:
    with made() as opened:
        yield opened


def caller(tenant: str) -> Caller:
    return Caller(principal=Principal(subject="ann", tenant=tenant), scopes=ALL_SCOPES)


def test_tenant_tries_a_policy_on_its_own_decisions(router: Router) -> None:
    for tenant in ("acme", "acme", "else", None):
        decided(router, task_type="analysis", tenant=tenant)
    operations = Operations(router)

    assert operations.simulate(caller("acme"), NO_CLAUDE).changed == 2
    assert operations.simulate(caller("else"), NO_CLAUDE).seen == 1
    assert operations.simulate(caller("nobody"), NO_CLAUDE).seen == 0
    assert operations.simulate(LOCAL, NO_CLAUDE).seen == 4


def test_newest_decisions_of_one_kind_are_tried(router: Router) -> None:
    for kind in ("analysis", "planning", "analysis"):
        decided(router, task_type=kind)
    operations = Operations(router)

    assert operations.simulate(LOCAL, NO_CLAUDE, decisions=2).seen == 2
    assert operations.simulate(LOCAL, NO_CLAUDE, task_type="planning").seen == 1


def test_mapping_is_as_good_as_text(router: Router) -> None:
    decided(router, task_type="analysis")

    told = Operations(router).simulate(LOCAL, {"access": [{"name": "n", "forbid": {"providers": ["anthropic"]}}]})

    assert told.changed == 1


def test_policy_of_the_router_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(NO_CLAUDE, encoding="utf-8")
    with Router.from_config(tmp_path, state=":memory:") as router:
        decided(router, task_type="analysis")
        told = Operations(router).simulate(LOCAL, NO_CLAUDE)

    assert told.candidate == told.current == router.policy.version
    assert (told.decided, told.changed, told.left_alone) == (1, 0, ())


def test_names_are_found_again_with_a_key_that_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = f"sqlite:///{tmp_path / 'state.db'}"
    seen = []
    for key in ("", "a key that lasts"):
        monkeypatch.setenv("CREW_MOE_LOG_KEY", key)
        with Router.from_config(state=state) as router:
            decided(router, task_type="analysis", tenant="acme")
        with Router.from_config(state=state) as router:
            seen.append(Operations(router).simulate(LOCAL, ACME, decisions=1))

    assert [one.reason for one in seen[0].not_decidable] == [Reason.WHO_ASKED]
    assert (seen[1].changed, seen[1].not_decidable) == (1, ())


@pytest.mark.parametrize("decisions", [0, -1, 1_001])
def test_number_of_decisions_is_bounded(decisions: int, router: Router) -> None:
    with pytest.raises(InvalidRequest, match="decisions: must be from 1 to 1000"):
        Operations(router).simulate(LOCAL, NO_CLAUDE, decisions=decisions)


def test_unknown_task_type_is_told_with_the_closest(router: Router) -> None:
    with pytest.raises(InvalidRequest, match="did you mean 'planning'"):
        Operations(router).simulate(LOCAL, NO_CLAUDE, task_type="planing")


@pytest.fixture
def serving(router: Router) -> Router:
    """A router with a service that serves one tenant alone."""
    told = Registration(
        service_id="own",
        service_type="chat",
        endpoint="http://127.0.0.1:9/v1",
        protocol="openai",
        tenant="acme",
        quality=0.99,
    )
    router.state.register(accepted(told, at=NOW, by="ops"))
    router.health()
    return router


def test_service_of_a_tenant_stays_its_own(serving: Router) -> None:
    assert decided(serving, task_type="analysis", tenant="acme", pin="own").expert_id == "own"
    decided(serving, task_type="analysis", tenant="else")

    told = Operations(serving).simulate(LOCAL, {})

    assert (told.decided, told.changed) == (2, 0)
    assert {move.after for move in told.moves} == {"own", "claude-sonnet-4"}


def test_wrong_candidate_names_no_service_of_others(serving: Router) -> None:
    with pytest.raises(ConfigError, match=r"rules\.0\.use: unknown expert 'ow'") as caught:
        Operations(serving).simulate(caller("else"), "rules: [{name: a, when: {}, use: [ow]}]")

    assert "own" in serving.registry
    assert "own" not in caught.value.allowed
    assert caught.value.closest != "own"
