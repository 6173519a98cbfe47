"""The service against requests made from its own document: no 5xx, nothing undocumented, nobody let in unasked."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crew_moe.service.options import ServiceOptions
from crew_moe.sim import simulate
from tests.auth.issuing import admin_token, authenticator, bearer, token
from tests.service.running import Running, running

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = {"operator": 60, "tenant": 25, "nobody": 15}
SEED = 1  # the same requests each time, for as long as the document is the same
GENERATED = re.compile(r"([\d,]+) generated")

pytestmark = pytest.mark.accept


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    options = ServiceOptions(rate="1000000/second", failures="1000000/second")
    credentials = authenticator(tmp_path_factory.mktemp("keys"))
    with (
        simulate(speed=0) as providers,
        running(authenticator=credentials, options=options, base_url=providers.base_url) as service,
    ):
        yield service


@pytest.mark.parametrize("credential", ["operator", "tenant", "nobody"])
def test_no_request_breaks_the_document(fuzzed: Running, credential: str, tmp_path: Path) -> None:
    tokens = {"operator": admin_token(tenant=None), "tenant": token(), "nobody": None}
    found = _fuzz(fuzzed.url, tokens[credential], EXAMPLES[credential], tmp_path)

    assert found.returncode == 0, found.stdout[-6000:]
    generated = GENERATED.search(found.stdout)
    assert generated is not None
    assert int(generated[1].replace(",", "")) >= 1000


def _fuzz(url: str, credential: str | None, examples: int, folder: Path) -> subprocess.CompletedProcess[str]:
    """Schemathesis with all its checks and phases."""
    header = ["-H", f"Authorization: {bearer(credential)}"] if credential else []
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG, "run", f"{url}/openapi.json"]
    options = [
        "--checks",
        "all",
        "--max-examples",
        str(examples),
        "--seed",
        str(SEED),
        "--suppress-health-check",
        "all",
        "--no-color",
    ]
    arguments = [*map(str, command), *options, "--generation-database", "none", *header]
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False, timeout=540)
