"""What the documents' blocks talk to: the service at the address that they name, open to this machine or with keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from crew_moe.auth.authenticator import Authenticator
from crew_moe.auth.caller import ALL_SCOPES
from crew_moe.catalog.local import load_local
from crew_moe.local_gate.serving import LocalGate
from crew_moe.settings import Settings
from crew_moe.sim import simulate
from tests.auth.issuing import add_api_key
from tests.docs.blocks import Places
from tests.service.local.serving import serving
from tests.service.running import running


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """Two services over simulated providers, a key for the one that asks who calls, and a local gate."""
    keys = tmp_path_factory.mktemp("keys") / "keys.yaml"
    key = add_api_key(keys, tenant=None, scopes=tuple(ALL_SCOPES))
    with ExitStack() as stack:
        sim = stack.enter_context(simulate(speed=0))
        everybody = stack.enter_context(running(base_url=sim.base_url))
        asking = Authenticator.from_settings(Settings(api_keys=keys))
        guarded = stack.enter_context(running(authenticator=asking, base_url=sim.base_url))
        fresh = load_local(models=tmp_path_factory.mktemp("models"))
        local = stack.enter_context(serving(LocalGate.open(fresh)))
        yield Places(everybody=everybody.url, guarded=guarded.url, local=local.url, key=key)
