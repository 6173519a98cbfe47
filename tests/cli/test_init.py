"""`crew-moe init`: routing for an existing project, shown first, and nothing else touched."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Cli

AGENTS = "researcher:\r\n  role: R\r\n  goal: G\r\n  backstory: B\r\nwriter:\r\n  role: W\r\n  llm: gpt-4o"
TASKS = """\
# Tasks of my crew

research:   # the first one
  # what to do
  description: >
    Analyse {topic}

  expected_output: Ten points
  agent: researcher

# The next one
report:
    description: "Write the user guide"
    expected_output: |+
      A report


routed:
  description: x
  expected_output: y
  routing: {tier: fast}
last:
  description: Audit the security
  expected_output: findings
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    config = tmp_path / "src" / "mine" / "config"
    config.mkdir(parents=True)
    (config / "agents.yaml").write_bytes(AGENTS.encode())
    (config / "tasks.yaml").write_text(TASKS, encoding="utf-8")
    return tmp_path


@pytest.fixture
def tasks(project: Path) -> Path:
    return project / "src" / "mine" / "config" / "tasks.yaml"


def _answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_every_task_and_agent_gets_a_block(cli: Cli, project: Path, tasks: Path) -> None:
    done = cli("init", project, "--yes")

    assert done.code == 0, done.err
    found = {name: entry["routing"] for name, entry in yaml.safe_load(tasks.read_text(encoding="utf-8")).items()}
    assert found == {
        "research": {"task_type": "analysis"},
        "report": {"task_type": "documentation"},
        "routed": {"tier": "fast"},
        "last": {"task_type": "security_audit"},
    }
    agents = yaml.safe_load((tasks.parent / "agents.yaml").read_text(encoding="utf-8"))
    assert [entry["routing"] for entry in agents.values()] == [{}, {}]


def test_nothing_but_the_blocks_changes(cli: Cli, project: Path, tasks: Path) -> None:
    cli("init", project, "--yes")

    kept, blocks = [], 0
    for line in tasks.read_text(encoding="utf-8").splitlines():
        ours = line.strip() == "routing:" or "read off the description" in line
        blocks += ours
        kept += [] if ours else [line]
    assert kept == TASKS.splitlines()
    assert blocks == 6


def test_line_endings_stay(cli: Cli, project: Path, tasks: Path) -> None:
    cli("init", project, "--yes")

    content = (tasks.parent / "agents.yaml").read_bytes()
    assert content.startswith(AGENTS.encode().split(b"writer")[0].rstrip())
    assert content.count(b"\n") == content.count(b"\r\n")


def test_diff_is_shown_and_a_no_changes_nothing(
    cli: Cli, project: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _answer(monkeypatch, "n\n")

    done = cli("init", project)

    assert done.code == 1
    assert "+    task_type: security_audit  # read off the description" in done.out
    assert "nothing was changed" in done.err
    assert tasks.read_text(encoding="utf-8") == TASKS


def test_silence_is_no_consent(cli: Cli, project: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(monkeypatch, "")

    done = cli("init", project)

    assert done.code == 1
    assert done.err.endswith("\nerror: stopped; nothing was changed\n")
    assert tasks.read_text(encoding="utf-8") == TASKS


def test_a_yes_writes(cli: Cli, project: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(monkeypatch, "y\n")

    assert cli("init", project).code == 0
    assert "routing:" in tasks.read_text(encoding="utf-8").split("report:")[0]


@pytest.mark.parametrize("arguments", [("--dry-run",), ("--dry-run", "--yes"), ("--json",), ("--json", "--dry-run")])
def test_looking_changes_nothing(cli: Cli, project: Path, tasks: Path, arguments: tuple[str, ...]) -> None:
    done = cli("init", project, *arguments)

    assert done.code == 0
    assert "security_audit" in done.out
    assert tasks.read_text(encoding="utf-8") == TASKS


def test_second_time_finds_nothing_to_do(cli: Cli, project: Path, tasks: Path) -> None:
    cli("init", project, "--yes")
    content = tasks.read_bytes()

    done = cli("init", project, "--yes")

    assert (done.code, done.out) == (0, "Every task and agent has a routing block already.\n")
    assert tasks.read_bytes() == content


def test_json_says_what_was_added(cli: Cli, project: Path) -> None:
    done = cli("init", project, "--yes", "--json").json

    assert done["written"] is True
    assert [file["added"] for file in done["files"]] == [["researcher", "writer"], ["research", "report", "last"]]


def test_what_init_wrote_is_a_valid_plan(cli: Cli, project: Path, tasks: Path) -> None:
    cli("init", project, "--yes")

    done = cli("plan", "--config", tasks.parent, "--input", "topic=AI", "--json")

    assert done.code == 0, done.err
    assert [task["task_type"] for task in done.json["tasks"]][-1] == "security_audit"


def test_permissions_stay_and_no_temporary_file_is_left(cli: Cli, project: Path, tasks: Path) -> None:
    tasks.chmod(0o640)

    cli("init", project, "--yes")

    assert stat.S_IMODE(tasks.stat().st_mode) == 0o640
    assert sorted(path.name for path in tasks.parent.iterdir()) == ["agents.yaml", "tasks.yaml"]


def test_write_that_fails_leaves_every_file_whole(
    cli: Cli, project: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(tasks))

    monkeypatch.setattr("os.fsync", full)

    done = cli("init", project, "--yes")

    assert done.code == 2
    assert "can't be written (No space left on device)" in done.err
    assert tasks.read_text(encoding="utf-8") == TASKS
    assert sorted(path.name for path in tasks.parent.iterdir()) == ["agents.yaml", "tasks.yaml"]


def test_folder_without_a_crew_says_where_it_looked(cli: Cli, tmp_path: Path) -> None:
    done = cli("init", tmp_path)

    assert done.code == 2
    assert "no tasks.yaml here; allowed: ./tasks.yaml, config/tasks.yaml, src/*/config/tasks.yaml" in done.err


def test_two_crews_are_too_many(cli: Cli, project: Path) -> None:
    other = project / "src" / "other" / "config"
    other.mkdir(parents=True)
    (other / "tasks.yaml").write_text(TASKS, encoding="utf-8")

    done = cli("init", project)

    assert done.code == 2
    assert "more than one crew here" in done.err


def test_file_behind_a_link_is_written_and_the_link_stays(cli: Cli, project: Path, tasks: Path) -> None:
    real = tasks.rename(project / "shared-tasks.yaml")
    tasks.symlink_to(real)

    cli("init", project, "--yes")

    assert tasks.is_symlink()
    assert "routing:" in real.read_text(encoding="utf-8")
