"""One open service for tests that change nothing in it, and one that asks who calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crew_moe.service.options import ServiceOptions
from tests.auth.issuing import authenticator
from tests.service.running import Running, running


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    options = ServiceOptions(rate="1000000/second", failures="1000000/second")
    with running(authenticator=authenticator(tmp_path_factory.mktemp("keys")), options=options) as found:
        yield found
