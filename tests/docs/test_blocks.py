"""What README and RUNBOOK show is what happens: their commands run, their Python runs, their YAML is valid."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
import yaml

from crew_moe.catalog import load_registry, packaged_config
from crew_moe.cli import main
from crew_moe.crew import load_plan
from tests.docs.blocks import DOCUMENTS, ROOT, Block, blocks, commands

# Read when crewai is imported, so set before.
os.environ.setdefault("CREWAI_STORAGE_DIR", tempfile.mkdtemp(prefix="crew-moe-tests-"))

LENIENT: Final = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
VARYING: Final = (
    (re.compile(r" +[\d,.]+ m?s\b"), " T"),
    (re.compile(r"[─-]{5,}"), "---"),
    (re.compile(r"@[0-9a-f]{12}\b"), "@DIGEST"),
    (re.compile(r"catalogue [0-9a-f]{16}\b"), "catalogue DIGEST"),
)
AGENTS: Final = "auditor:\n  role: Auditor\n  goal: Find weaknesses\n  backstory: Years of practice\n"
TASKS: Final = (
    "audit_task:\n  description: Audit\n  expected_output: Findings\n  agent: auditor\n  routing: {risk: high}\n"
)


def _all(language: str) -> list[Block]:
    return [block for document in DOCUMENTS for block in blocks(document, language)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which a reader tries things out: a copy of the configuration, and a crew of their own."""
    shutil.copytree(packaged_config(), tmp_path / "agents_config")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "agents.yaml").write_text(AGENTS, encoding="utf-8")
    (tmp_path / "config" / "tasks.yaml").write_text(TASKS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    yield tmp_path
    structlog.reset_defaults()


def _levelled(text: str) -> str:
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return text + "\n"


def _code(block: Block) -> int:
    found = re.search(r"exit=(\d)", block.info)
    return int(found[1]) if found else 0


@pytest.mark.parametrize("block", _all("console"), ids=str)
@pytest.mark.usefixtures("project")
def test_command_does_what_the_document_shows(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands(block):
        assert command.arguments[0] == "crew-moe", command
        capsys.readouterr()

        code = main(command.arguments[1:])

        printed = capsys.readouterr()
        assert code == _code(block), printed.err
        if command.shown.strip():
            got, want = _levelled(printed.out + printed.err), _levelled(command.shown)
            assert doctest.OutputChecker().check_output(want, got, LENIENT), got


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.usefixtures("project")
def test_python_of_a_document_runs_from_top_to_bottom(document: str, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}

    for block in blocks(document, "python"):
        source = "\n" * block.line + block.text  # so that a traceback shows the document's own line
        exec(compile(source, document, "exec"), names)  # noqa: S102 - the project's own documents

    assert capsys.readouterr().out or not blocks(document, "python")


@pytest.mark.parametrize("block", _all("yaml"), ids=str)
def test_yaml_is_valid_where_it_would_stand(block: Block, tmp_path: Path) -> None:
    content = yaml.safe_load(block.text)
    if "rules" in content:
        pytest.importorskip("summa")
        from crew_moe.sim import load_script

        assert load_script(content, load_registry()).rules
    elif "experts" in content:
        (tmp_path / "experts.yaml").write_text(block.text, encoding="utf-8")
        assert load_registry(tmp_path)
    else:
        name = "routing.yaml" if {"default", "agents", "tasks"} & content.keys() else "tasks.yaml"
        (tmp_path / name).write_text(block.text, encoding="utf-8")
        plan = load_plan(tmp_path)
        assert plan.tasks or plan.over_tasks or plan.default


def test_documents_name_no_file_that_is_not_there() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / document).read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{document}: {target}"
