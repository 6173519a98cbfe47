"""`crew-moe local serve --ray` as its users have it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.program import serving

pytestmark = pytest.mark.accept


@pytest.fixture
def sessions() -> Iterator[Path]:
    """Where Ray keeps its files and sockets, whose paths must be short."""
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    (folder / "ray").mkdir()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def still_running(folder: Path) -> list[str]:
    """Processes that were started with this folder in their command."""
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [line.decode(errors="replace") for line in lines if str(folder).encode() in line]


def test_experts_on_this_machines_own_cluster_answer_and_nothing_is_left_of_it(tmp_path: Path, sessions: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    flags = ("--ray", "--replicas", "1:2")
    with serving(tmp_path, *flags, env={"RAY_TMPDIR": str(sessions)}, command=("local", "serve")) as program:
        with program.client() as client:
            answer = client.post("/process/sync", json={"text": "The pump failed.", "expert": "extractive"})
        running = still_running(sessions)
        code = program.end()

    assert (answer.status_code, answer.json()["expert_used"]) == (200, "extractive"), answer.text
    assert running
    assert (code, still_running(sessions)) == (0, []), program.said
    assert len(list((sessions / "ray").glob("session_2*"))) == 1, "another cluster was started on the way out"
