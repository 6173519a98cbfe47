"""The live feed over replicas: whoever is asked tells what all of them do, and a cursor holds on each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crew_moe import RoutingRequest
from tests.auth.issuing import authenticator, bearer, token
from tests.service.running import Running, running
from tests.service.talking import heard, talking

REQUEST = RoutingRequest(task_type="planning", text="x", tenant="acme")
HEADERS = {"Authorization": bearer(token(tenant="acme"))}


@pytest.fixture
def replicas(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Running, Running]]:
    monkeypatch.setenv("CREW_MOE_LOG_KEY", "the same for all")
    who = authenticator(tmp_path)
    with running(state=redis_url, authenticator=who) as one, running(state=redis_url, authenticator=who) as other:
        yield one, other


def test_tenant_sees_its_decisions_wherever_they_are_made(replicas: tuple[Running, Running]) -> None:
    one, other = replicas
    with talking(one.url, additional_headers=HEADERS) as client:
        heard(client, "ready")
        other.router.decide(REQUEST.model_copy(update={"tenant": "globex"}))
        made = [replica.router.decide(REQUEST).decision_id for replica in (other, one)]

        assert {heard(client, "decision")["decision_id"] for _ in made} == set(made)


def test_client_moves_on_to_another_replica(replicas: tuple[Running, Running]) -> None:
    one, other = replicas
    with talking(one.url, additional_headers=HEADERS) as client:
        heard(client, "ready")
        first = one.router.decide(REQUEST).decision_id
        seen = heard(client, "decision")
    missed = one.router.decide(REQUEST).decision_id
    one.telemetry.lookout.flush()
    with talking(other.url, f"?cursor={seen['cursor']}", additional_headers=HEADERS) as client:
        assert heard(client, "decision")["decision_id"] == missed

    assert seen["decision_id"] == first
