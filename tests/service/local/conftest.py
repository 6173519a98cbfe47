"""One open service over two hosts, for tests that change nothing in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.local_gate.engine_hosts import Upper
from tests.local_gate.hosts.weights_folders import tiny as tiny
from tests.service.local.serving import Local, engine_of, serving


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    with serving(engine_of(Upper(), Upper("second"))) as found:
        yield found
