"""What README and RUNBOOK show is what happens: their commands run, their Python runs, their YAML is valid."""

from __future__ import annotations

import ast
import asyncio
import doctest
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
import yaml

from crew_moe.catalog import load_policy, load_registry, packaged_config
from crew_moe.catalog.local import load_local
from crew_moe.crew import load_plan
from crew_moe.gating.access import access_control
from crew_moe.gating.catalogue import CHECKS
from crew_moe.gating.config import build_gate
from crew_moe.gating.examples import load_examples
from crew_moe.strategies import STRATEGIES
from tests.docs.blocks import DOCUMENTS, KEY, ROOT, Block, Places, blocks, commands
from tests.docs.shell import Terminal

# Read when crewai is imported, so set before.
os.environ.setdefault("CREWAI_STORAGE_DIR", tempfile.mkdtemp(prefix="crew-moe-tests-"))

CURL: Final = "curl"
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


@pytest.fixture(autouse=True)
def own_checks() -> Iterator[None]:
    """A check that a document registers is forgotten again: other tests ask which checks there are."""
    known = dict(CHECKS)
    yield
    CHECKS.clear()
    CHECKS.update(known)


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


@pytest.fixture
def terminal(
    project: Path, places: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Terminal]:
    with ExitStack() as stack:
        yield Terminal(project, places, stack, monkeypatch, capsys)


@pytest.mark.parametrize("block", _all("console"), ids=str)
def test_command_does_what_the_document_shows(block: Block, terminal: Terminal) -> None:
    for command in commands(block):
        if command.arguments[0] == CURL and shutil.which(CURL) is None:
            pytest.skip("curl is not installed")

        result = terminal.run(command)

        assert result.code == _code(block), result.printed
        if command.shown.strip():
            got, want = _levelled(result.printed), _levelled(command.shown)
            assert doctest.OutputChecker().check_output(want, got, LENIENT), got


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.usefixtures("project")
def test_python_of_a_document_runs_from_top_to_bottom(
    document: str, places: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(KEY, places.key)
    names: dict[str, Any] = {}
    keyed = False  # once a block has taken the key, those behind it use what it made

    for block in blocks(document, "python"):
        keyed = keyed or KEY in block.text
        source = "\n" * block.line + places.put_into(
            block.text, guarded=keyed
        )  # so that a traceback shows the document's own line
        code = compile(source, document, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)  # as `python -m asyncio` does
        waiting = eval(code, names)  # noqa: S307 - the project's own documents
        if waiting is not None:
            asyncio.run(waiting)

    assert capsys.readouterr().out or not blocks(document, "python")


@pytest.mark.parametrize("block", _all("pycon"), ids=str)
def test_session_goes_as_the_document_shows(block: Block) -> None:
    session = doctest.DocTestParser().get_doctest(block.text, {}, str(block), block.document, block.line)

    assert doctest.DocTestRunner(optionflags=LENIENT, verbose=False).run(session).failed == 0


def _check_script(folder: Path, content: Any) -> None:
    pytest.importorskip("summa")
    from crew_moe.sim import load_script

    assert load_script(content, load_registry(folder)).rules


def _check_experts(folder: Path, content: Any) -> None:
    registry = load_registry(folder)
    assert all(name in registry for name in content["experts"])


def _check_policy(folder: Path, _: Any) -> None:
    registry = load_registry(folder)
    policy = load_policy(folder, registry, STRATEGIES)
    assert access_control(policy, registry) is not None
    assert build_gate(policy.gate).checks


def _check_routing(folder: Path, _: Any) -> None:
    plan = load_plan(folder)
    assert plan.tasks or plan.over_tasks or plan.default


def _check_examples(folder: Path, _: Any) -> None:
    assert load_examples(folder / "examples.yaml", load_registry())


def _check_local(folder: Path, _: Any) -> None:
    assert load_local(folder).hosts
    assert load_registry(folder)


# By a key that tells what a block is: the name of its file, and what reads it.
PLACES: Final[Mapping[str, tuple[str, Callable[[Path, Any], None]]]] = {
    "rules": ("script.yaml", _check_script),
    "experts": ("experts.yaml", _check_experts),
    **dict.fromkeys(("budgets", "gate", "screening", "access", "learning"), ("policy.yaml", _check_policy)),
    **dict.fromkeys(("default", "agents", "tasks"), ("routing.yaml", _check_routing)),
    **dict.fromkeys(("batch", "cache", "fallback", "memory_limit_mb", "timeout_s"), ("local.yaml", _check_local)),
}


def _is_local(content: Any) -> bool:
    """Whether it is a local.yaml: its experts have a kind."""
    experts = content.get("experts", {}) if isinstance(content, dict) else {}
    return any(isinstance(entry, dict) and "kind" in entry for entry in experts.values())


@pytest.mark.parametrize("block", _all("yaml"), ids=str)
def test_yaml_is_valid_where_it_would_stand(block: Block, tmp_path: Path) -> None:
    content = yaml.safe_load(block.text)
    otherwise = ("examples.yaml", _check_examples) if isinstance(content, list) else ("tasks.yaml", _check_routing)
    name, check = (
        next((PLACES[key] for key in content if key in PLACES), otherwise) if isinstance(content, dict) else otherwise
    )
    if _is_local(content):
        name, check = "local.yaml", _check_local
    (tmp_path / name).write_text(block.text, encoding="utf-8")

    check(tmp_path, content)


@pytest.mark.parametrize("block", _all("cedar"), ids=str)
def test_cedar_is_valid_where_it_would_stand(block: Block, tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "own.cedar").write_text(block.text, encoding="utf-8")

    _check_policy(tmp_path, None)


def _anchors(document: Path) -> set[str]:
    """What links may name in a document: its headings, as GitHub makes anchors of them."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_and_headings_that_are_there(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")

    for file, _, heading in (link.partition("#") for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text)):
        target = ROOT / (file or document)
        assert target.exists(), file
        assert not heading or heading in _anchors(target), f"{file}#{heading}"
