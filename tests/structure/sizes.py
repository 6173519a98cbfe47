"""How large files and functions are. As a program it lists those beyond the aims, largest first."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

from tests.structure.source import python_files, relative, tree

FILE_LIMIT: Final = 400
FILE_AIM: Final = 250
FUNCTION_LIMIT: Final = 60
FUNCTION_AIM: Final = 30
MEASURED: Final = ("crew_moe", "mcp_server", "tests")
_HOLDS_FUNCTIONS: Final = (ast.stmt, ast.excepthandler, ast.match_case)


class Size(NamedTuple):
    """Lines of one file (`tests/conftest.py`) or function (`tests/conftest.py::SkipJudge._judge`)."""

    name: str
    lines: int


def file_sizes() -> list[Size]:
    return [
        Size(relative(path), len(path.read_text(encoding="utf-8").splitlines())) for path in python_files(*MEASURED)
    ]


def function_sizes() -> list[Size]:
    """Functions and methods, decorators and docstring included."""
    return [size for path in python_files(*MEASURED) for size in _functions(tree(path), f"{relative(path)}::")]


def _functions(node: ast.AST, prefix: str) -> Iterator[Size]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _HOLDS_FUNCTIONS):
            continue
        name = prefix
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}{child.name}."
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([child.lineno, *(decorator.lineno for decorator in child.decorator_list)])
            yield Size(name.rstrip("."), (child.end_lineno or child.lineno) - first + 1)
        yield from _functions(child, name)


def main() -> None:
    for aim, what, sizes in ((FILE_AIM, "Files", file_sizes()), (FUNCTION_AIM, "Functions", function_sizes())):
        beyond = sorted((size for size in sizes if size.lines > aim), key=lambda size: -size.lines)
        sys.stdout.write(f"{what} beyond the aim of {aim} lines: {len(beyond)} of {len(sizes)}\n")
        for size in beyond:
            sys.stdout.write(f"  {size.lines:4d}  {size.name}\n")


if __name__ == "__main__":
    main()
