"""Opening stores and logs by URL."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crew_moe.errors import InvalidInput, StateError
from crew_moe.state import open_log, open_state, read_log
from crew_moe.state.memory.log import MemoryLog
from crew_moe.state.memory.store import MemoryStore
from crew_moe.state.sqlite.log import SQLiteLog
from crew_moe.state.sqlite.store import SQLiteStore
from tests.state.given import NOW, POLICY, SAMPLE, row_of

Open = Callable[[str], object]
BOTH = pytest.mark.parametrize("opens", [lambda url: open_state(url, POLICY), open_log], ids=["state", "log"])


def test_memory_has_its_own_name() -> None:
    assert isinstance(open_state(":memory:", POLICY), MemoryStore)
    assert isinstance(open_log(":memory:"), MemoryLog)


def test_relative_path_is_made_with_its_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    store = open_state("sqlite:///.crew_moe/deep/state.db", POLICY)
    store.close()

    assert isinstance(store, SQLiteStore)
    assert (tmp_path / ".crew_moe/deep/state.db").is_file()


def test_state_and_log_share_one_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/both.db"
    store, log = open_state(url, POLICY), open_log(url)
    log.append("d1", row_of(1))
    store.record(SAMPLE, NOW)
    log.flush()
    before = store.version()
    log.append("d2", row_of(2))
    log.flush()

    assert isinstance(log, SQLiteLog)
    assert store.version() == before
    assert log.get("d1") is not None
    store.close()
    log.close()


@BOTH
@pytest.mark.parametrize(
    "url", ["", "memory", "state.db", "sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://x"]
)
def test_other_forms_are_refused_with_the_forms_allowed(opens: Open, url: str) -> None:
    with pytest.raises(InvalidInput, match=r"names no state.*sqlite:///relative/path\.db") as caught:
        opens(url)

    assert ":memory:" in caught.value.allowed


def test_near_miss_names_the_closest_form() -> None:
    with pytest.raises(InvalidInput, match="did you mean ':memory:'"):
        open_log("memory")


def test_password_in_a_wrong_url_is_not_repeated() -> None:
    with pytest.raises(InvalidInput) as caught:
        open_log("postgres://crew:hunter2@db/state")

    assert "hunter2" not in str(caught.value)


@BOTH
def test_folder_that_cannot_be_made_is_one_clear_error(opens: Open, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")

    with pytest.raises(StateError, match=r"the folder .*/file/sub of the state can't be made"):
        opens(f"sqlite:///{tmp_path}/file/sub/state.db")


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_log_is_read_from_the_oldest_row_on(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = f"sqlite:///{tmp_path}/log.db" if kind == "sqlite" else request.getfixturevalue("redis_url")
    log = open_log(url)
    for number in range(3):
        log.append(f"d{number}", row_of(number))
    log.close()

    assert [row["decision_id"] for row in read_log(url)] == ["d0", "d1", "d2"]


@pytest.mark.parametrize("url", [":memory:", "sqlite:///{folder}/not-made/log.db"])
def test_log_that_is_not_there_is_not_made(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no decision log"):
        list(read_log(url.format(folder=tmp_path)))

    assert list(tmp_path.iterdir()) == []


def test_memory_loads_no_sqlite() -> None:
    program = (
        "import sys; from crew_moe.state import open_log, open_state, read_log; from tests.state.given import POLICY;"
        "open_state(':memory:', POLICY); open_log(':memory:'); print('sqlite3' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
