"""`crew-moe learn report`."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from crew_moe import Decision, Router, RoutingRequest
from crew_moe.state import open_log
from tests.cli.conftest import Cli
from tests.learning.history import TRUE_QUALITY, exploring, week

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A week of an exploring router: its configuration, its state, and the truth about all answers."""
    place = tmp_path_factory.mktemp("history")
    made = week(f"sqlite:///{place}/state.db", exploring(place / "config"))
    (place / "truth.jsonl").write_text("\n".join(map(_graded, made)), encoding="utf-8")
    return place


def _graded(decision: Decision) -> str:
    return json.dumps({"decision_id": decision.decision_id, **{f"q:{name}": q for name, q in TRUE_QUALITY.items()}})


@pytest.fixture
def asked(folder: Path) -> list[str]:
    """The command over that week."""
    return ["learn", "report", "--log", f"sqlite:///{folder}/state.db", "--config", str(folder / "config")]


def test_report_tells_every_figure(cli: Cli, asked: list[str]) -> None:
    done = cli(*asked)

    assert done.code == 0, done.err
    assert "300 decisions from 2026-03-01 00:33 to 2026-03-08 00:00 UTC" in done.out
    for name in ("Regret", "Escalated", "Calls that failed", "Spent on", "Infeasible", "claude-sonnet-4", "Drift"):
        assert name in done.out
    assert "Calibration can't be told: no decision that was served had a predicted quality." in done.out


def test_regret_from_the_log_is_about_the_one_that_the_truth_tells(cli: Cli, asked: list[str], folder: Path) -> None:
    told = cli(*asked, "--truth", folder / "truth.jsonl", "--json").json

    estimated, known = told["regret"], told["known_regret"]
    assert (estimated["best_expert"], known["best_expert"]) == ("claude-sonnet-4", "claude-sonnet-4")
    assert estimated["regret"]["mean"] == pytest.approx(known["against_best"]["mean"], abs=0.06)
    assert estimated["regret"]["low"] > 0
    assert known["against_oracle"]["mean"] == pytest.approx(0.9 - known["reward"])
    assert told["infeasible"]["bindings"] == {"min_quality": 15}


def test_drawing_that_can_not_be_written_is_one_clear_error(cli: Cli, asked: list[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    (tmp_path / "report.png").mkdir()

    done = cli(*asked, "--plot", tmp_path / "report.png")

    assert (done.code, done.out) == (2, "")
    assert "report.png: can't be written (Is a directory)" in done.err


def test_drawing_is_a_picture(cli: Cli, asked: list[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")

    done = cli(*asked, "--plot", tmp_path / "report.png")

    assert done.code == 0, done.err
    assert f"Drawn: {tmp_path}/report.png" in done.out.replace("\n", "")
    picture = (tmp_path / "report.png").read_bytes()
    assert picture.startswith(PNG)
    width, height = (int.from_bytes(picture[start : start + 4]) for start in (16, 20))
    assert (width, height) >= (1_200, 800)


class _Seen(HTMLParser):
    """Tags that are open, what is named, and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.words: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href", "action")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        tag = self.open[-1] if self.open else ""
        self.words[tag] = self.words.get(tag, "") + data


def test_page_stands_alone_and_tells_the_drawing_in_words(cli: Cli, asked: list[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")

    for name in ("report.html", "again.html"):
        assert cli(*asked, "--plot", tmp_path / name).code == 0

    page, seen = (tmp_path / "report.html").read_text(encoding="utf-8"), _Seen()
    seen.feed(page)
    assert page == (tmp_path / "again.html").read_text(encoding="utf-8")
    assert seen.open == []
    assert all(address.startswith("#") for address in seen.addresses)
    assert not re.search(r"url\((?!#)|@import|<script|<!DOCTYPE svg", page)
    assert 'role="img" aria-labelledby="drawing-title drawing-text"' in page
    assert "claude-sonnet-4" in seen.words["desc"]
    assert "Escalated to a higher tier" in seen.words["td"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--since", "soon"], "--since: 'soon' is no time; allowed: 90m, 24h, 7d, 2w"),
        (["--plot", "report.pdf"], "--plot: 'report.pdf' is no drawing; allowed: .png, .html"),
        (["--plot", "none/report.png"], "--plot: there is no folder none"),
        (["--truth", "none.csv"], "none.csv: there is no such file"),
        (["--config", "none"], "none"),
    ],
)
def test_wrong_option_is_one_clear_error(cli: Cli, asked: list[str], wrong: list[str], said: str) -> None:
    done = cli(*asked, *wrong)

    assert (done.code, done.out) == (2, "")
    assert said in done.err


@pytest.mark.parametrize("log", ["sqlite:////tmp/none/state.db", ":memory:", "state.db"])
def test_log_that_is_not_there_is_one_clear_error(cli: Cli, log: str) -> None:
    done = cli("learn", "report", "--log", log)

    assert done.code == 2
    assert re.search("there is no decision log|names no state", done.err)


def test_empty_log_and_empty_time_say_so(cli: Cli, asked: list[str], tmp_path: Path) -> None:
    open_log(f"sqlite:///{tmp_path}/new.db").close()

    empty = cli("learn", "report", "--log", f"sqlite:///{tmp_path}/new.db")
    assert (empty.code, "holds no decision: there is nothing to report" in " ".join(empty.out.split())) == (0, True)
    assert "holds no decision of the last 1m" in " ".join(cli(*asked, "--since", "1m").out.split())
    assert cli(*asked, "--since", "1m", "--json").json == {"decisions": 0}


def test_one_decision_is_a_report_with_what_can_not_be_told(cli: Cli, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    with Router.from_config(state=url) as router:
        made = router.decide(RoutingRequest(task_type="planning", text="Plan"))

    done = cli("learn", "report", "--log", url, "--since", "1h")

    assert done.code == 0, done.err
    assert "1 decision from" in done.out
    assert getattr(made, "expert_id", "") in done.out
    assert done.out.count("can't be told") >= 3


def test_what_can_not_be_told_is_drawn_as_words(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    with Router.from_config(state=f"sqlite:///{tmp_path}/state.db") as router:
        router.decide(RoutingRequest(task_type="planning", text="Plan", min_quality=0.999))

    done = cli("learn", "report", "--log", f"sqlite:///{tmp_path}/state.db", "--plot", tmp_path / "one.html")

    assert done.code == 0, done.err
    page = (tmp_path / "one.html").read_text(encoding="utf-8")
    assert "Share of decisions" not in re.sub(r"<svg.*</svg>", "", page, flags=re.DOTALL)
    assert "nobody" in page


def test_drawing_without_its_library_says_which_extra_is_missing(
    cli: Cli, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    done = cli(*asked, "--plot", tmp_path / "report.png")

    assert (done.code, done.out) == (2, "")
    assert "crew-moe[learn]" in done.err
    assert list(tmp_path.iterdir()) == []


def test_rows_that_say_too_little_are_counted(cli: Cli, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    log = open_log(url)
    at = datetime(2026, 3, 1, tzinfo=UTC).isoformat()
    log.append("d1", lambda: {"kind": "decision", "decision_id": "d1", "ok": True, "expert_id": "a", "created_at": at})
    log.append("d2", lambda: {"kind": "decision", "decision_id": "d2"})
    log.append("d1/served/1", lambda: {"kind": "attempt", "decision_id": "d1"})
    log.append("d3", lambda: {"kind": "decision", "decision_id": "d3", "ok": False, "created_at": at})
    log.close()

    done = cli("learn", "report", "--log", url)

    assert done.code == 0, done.err
    assert "2 decisions" in done.out
    assert "Left out: 2 rows of the log that say too little." in done.out


def test_log_in_redis_gives_the_same_figures(cli: Cli, redis_url: str, tmp_path: Path) -> None:
    week(redis_url, exploring(tmp_path), 30)

    told = cli("learn", "report", "--log", redis_url, "--config", tmp_path, "--json").json

    assert told["decisions"] == 30
    assert sum(window["total"] for window in told["shares"]) == 29
