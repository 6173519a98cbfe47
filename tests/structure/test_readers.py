"""Every module of the packages has a reader: another module imports it, or it is a way in."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.structure.source import ROOT, module_name, python_files, relative, text_files, tree

READING = {".py", ".md", ".toml", ".yaml", ".json", ".jsonc", ""}


def _imported(path: Path) -> Iterator[str]:
    """Names of modules that this file imports, also by a string (a table of lazy exports)."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.partition(":")[0]


def _ways_in() -> set[str]:
    """Modules that people start: console scripts, `python -m` in the Makefile, `__main__` files, MCP's server file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    scripts = {target.partition(":")[0] for target in project["scripts"].values()}
    server = json.loads((ROOT / "fastmcp.json").read_text(encoding="utf-8"))["source"]["path"]
    scripts.add(server.removesuffix(".py").replace("/", "."))
    return scripts | set(re.findall(r"-m ([\w.]+)", (ROOT / "Makefile").read_text(encoding="utf-8")))


def test_every_module_has_a_reader() -> None:
    modules = {module_name(path): path for path in python_files() if path.name not in {"__init__.py", "__main__.py"}}
    read = {name for path in python_files() for name in _imported(path) if name != module_name(path)}

    assert sorted(modules.keys() - read - _ways_in()) == []


def test_every_package_folder_is_a_package() -> None:
    folders = {path.parent for path in python_files()}

    assert sorted(str(folder) for folder in folders if not (folder / "__init__.py").exists()) == []


def test_every_data_file_has_a_reader() -> None:
    """Some other file names it, or names both its folder and its stem."""
    words = {
        path: set(re.findall(r"\w[\w.-]*", path.read_text(encoding="utf-8")))
        for path in text_files()
        if path.suffix in READING
    }
    data = [path for folder in ("agents_config", "fixtures") for path in (ROOT / folder).rglob("*") if path.is_file()]

    unread = [path for path in data if path.suffix != ".pyc" and not _is_named(path, words)]

    assert sorted(map(relative, unread)) == []


def _is_named(path: Path, words: Mapping[Path, set[str]]) -> bool:
    others = [found for other, found in words.items() if other != path]
    return any(path.name in found or {path.parent.name, path.name.partition(".")[0]} <= found for found in others)
