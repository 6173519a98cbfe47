"""Registered services as models: those that take chats, to those who may see them."""

from __future__ import annotations

from pathlib import Path

from crew_moe import Router
from crew_moe.auth.caller import LOCAL, AccessScope, Caller
from crew_moe.domain.host_rules import LOOPBACK
from crew_moe.domain.principal import Principal
from crew_moe.domain.service import Registration
from crew_moe.service.openai_api.asked import asked_of
from crew_moe.service.openai_api.body import read_chat
from crew_moe.service.openai_api.listing import model_list
from crew_moe.surface.fault import Fault
from crew_moe.surface.sight import seen
from tests.router.ruled import ruled

ANN, BOB = (
    Caller(principal=Principal(subject=name, tenant=tenant), scopes=frozenset({AccessScope.READ}))
    for name, tenant in (("ann", "acme"), ("bob", "other"))
)
CHAT = b'{"model": "theirs", "messages": [{"role": "user", "content": "hi"}]}'


def _models(router: Router, caller: Caller) -> set[str]:
    return {row["id"] for row in model_list(seen(router.registry, caller))["data"]} & {"worker", "all", "theirs"}


def test_models_are_chat_services_that_the_caller_may_see(tmp_path: Path) -> None:
    with ruled(tmp_path, service_hosts=LOOPBACK) as router:
        for name, protocol, tenant in (("worker", "json", None), ("all", "openai", None), ("theirs", "openai", "acme")):
            router.services.register(
                Registration(
                    service_id=name,
                    service_type="inference",
                    endpoint="http://localhost:9/v1",
                    protocol=protocol,
                    tenant=tenant,
                )
            )
        listed = {
            caller: {row["id"] for row in model_list(seen(router.registry, caller))["data"]}
            & {"worker", "all", "theirs"}
            for caller in (ANN, BOB, LOCAL)
        }
        asked = [isinstance(asked_of(read_chat(CHAT), router, caller), Fault) for caller in (ANN, BOB)]

    assert listed == {ANN: {"all", "theirs"}, BOB: {"all"}, LOCAL: {"all", "theirs"}}
    assert asked == [False, True]
