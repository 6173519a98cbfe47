"""The public surface is small, true, and costs nothing to import."""

from __future__ import annotations

import ast
import subprocess
import sys
from types import ModuleType

import pytest

import crew_moe
from tests.structure.source import PACKAGES, ROOT, module_name, python_files, tree

HEAVY = {
    "crewai", "fastapi", "fastmcp", "httpx", "numpy", "openai", "pydantic", "pydantic_settings", "redis",
    "rich", "sqlite3", "structlog", "summa", "torch", "transformers", "typer", "yaml",
}  # fmt: skip
OPTIONAL = {
    "cedarpy", "crewai", "discord", "fastapi", "fastmcp", "genai_prices", "httptools", "jwt", "limits", "lingua",
    "matplotlib", "openai", "pandas", "presidio_analyzer", "pyarrow", "ray", "redis", "scipy", "sklearn", "spacy",
    "summa", "torch", "transformers",
}  # fmt: skip
NEEDS_AN_EXTRA = (
    "crew_moe.crew.", "crew_moe.execution.line.", "crew_moe.execution.lines.", "crew_moe.gating.discord.",
    "crew_moe.local_gate.byt5.", "crew_moe.local_gate.classifier.", "crew_moe.local_gate.codet5.",
    "crew_moe.local_gate.demo.byt5.", "crew_moe.local_gate.demo.longformer.", "crew_moe.local_gate.demo.neighbours.",
    "crew_moe.local_gate.demo.train.", "crew_moe.local_gate.demo.training.", "crew_moe.local_gate.hosts.device.",
    "crew_moe.local_gate.hosts.embedding.", "crew_moe.local_gate.hosts.generation.",
    "crew_moe.local_gate.hosts.loading.", "crew_moe.local_gate.hosts.seq2seq.",
    "crew_moe.local_gate.layer.", "crew_moe.local_gate.longformer.",
    "crew_moe.local_gate.ray_hosts.", "crew_moe.local_gate.ray_replicas.", "crew_moe.local_gate.ray_serving.",
    "crew_moe.service.", "mcp_server.",
)  # fmt: skip
MODULE_BUDGET = 40


def _loaded_by(statement: str) -> set[str]:
    """Modules that a statement loads in a fresh interpreter, beyond those of the interpreter itself."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_all_is_what_is_exported() -> None:
    public = {
        name
        for name in dir(crew_moe)
        if not name.startswith("_") and not isinstance(getattr(crew_moe, name), ModuleType)
    }

    assert set(crew_moe.__all__) - {"__version__"} == public
    assert len(crew_moe.__all__) <= 20
    assert sorted(set(crew_moe.__all__)) == sorted(crew_moe.__all__)


def test_type_checkers_see_the_same_exports() -> None:
    lazy = next(node for node in tree(ROOT / "crew_moe/__init__.py").body if isinstance(node, ast.If))
    names = {
        alias.asname or alias.name
        for node in ast.walk(lazy)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert names == set(crew_moe.__all__) - {"__version__"}


@pytest.mark.parametrize("name", ["no_such_name", "router_"])
def test_unknown_export_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(crew_moe, name)


def test_importing_the_package_loads_nothing_of_weight() -> None:
    loaded = _loaded_by("import crew_moe")

    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()
    assert len(loaded) <= MODULE_BUDGET, sorted(loaded)


def test_importing_the_router_loads_no_optional_extra() -> None:
    loaded = _loaded_by("from crew_moe import Router")

    assert {name.partition(".")[0] for name in loaded} & OPTIONAL == set()


def test_deciding_loads_neither_an_http_client_nor_openssl() -> None:
    loaded = _loaded_by(
        "from crew_moe import Router, RoutingRequest; Router.from_config().decide(RoutingRequest(task_type='planning'))"
    )

    assert {name.partition(".")[0] for name in loaded} & {"httpx", "_hashlib", "structlog", "asyncio"} == set()


def test_every_core_module_imports_without_its_extra() -> None:
    names = [module_name(path) for path in python_files(*PACKAGES) if path.stem != "__main__"]
    core = [name for name in names if not f"{name}.".startswith(NEEDS_AN_EXTRA)]

    loaded = _loaded_by("import " + ", ".join(core))

    assert {name.partition(".")[0] for name in loaded} & OPTIONAL == set()
