"""JSON Schemas of everything that people write by hand, for editors: experts.yaml, policy.yaml, local.yaml,
`routing:` blocks.

`python -m crew_moe.cli.schemas` writes those in agents_config/schemas anew; with `--check` it writes nothing and fails
when one is not current.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from crew_moe.catalog.expert_schema import ExpertsFile
from crew_moe.catalog.local_schema import LocalFile
from crew_moe.catalog.locate import packaged_config
from crew_moe.catalog.schema import PolicyFile
from crew_moe.crew.config import routing_schema
from crew_moe.gating.schema import gate_schema

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
FOLDER: Final = "schemas"
CHECK: Final = "--check"


def schemas() -> dict[str, str]:
    """The text of each schema, by the name of its file."""
    documents = {
        "experts": _layered(ExpertsFile, "crew-moe catalogue"),
        "policy": _with_gate(_layered(PolicyFile, "crew-moe policy")),
        "local": _layered(LocalFile, "crew-moe local gate"),
        "routing": routing_schema(),
    }
    return {f"{name}.schema.json": json.dumps(document, indent=2) + "\n" for name, document in documents.items()}


def write_schemas(folder: Path) -> list[Path]:
    """Write every schema into `folder`; the files that had to change."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = stale(folder)
    for path in changed:
        path.write_text(schemas()[path.name], encoding="utf-8")
    return changed


def stale(folder: Path) -> list[Path]:
    """The files of `folder` that are missing or not what `schemas` gives."""
    wanted = {folder / name: text for name, text in schemas().items()}
    return [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]


def _layered(model: type[BaseModel], title: str) -> dict[str, Any]:
    """Schema of a file that may lie over another one: what a mapping leaves out comes from the file below.

    A list is taken whole, so what its items need stays needed.
    """
    schema = model.model_json_schema()
    whole = set(_item_models(schema))
    for name, definition in [(None, schema), *schema["$defs"].items()]:
        if name not in whole:
            definition.pop("required", None)
    return {"$schema": DIALECT, **schema, "title": title}


def _with_gate(schema: dict[str, Any]) -> dict[str, Any]:
    """The section that gating reads, which knows which checks there are."""
    schema["properties"]["gate"] = gate_schema()
    return schema


def _item_models(node: Any) -> Iterator[str]:
    """Names of the definitions that stand as items of a list."""
    if isinstance(node, Mapping):
        items = node.get("items")
        if isinstance(items, Mapping) and "$ref" in items:
            yield str(items["$ref"]).rpartition("/")[2]
    parts = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    for part in parts:
        yield from _item_models(part)


def main(arguments: Sequence[str]) -> int:
    """0 when every file was current (`--check`) or is so now, 1 when one is not, 2 for an unknown argument."""
    if set(arguments) - {CHECK}:
        sys.stderr.write(f"unknown argument; allowed: {CHECK}\n")
        return 2
    folder = packaged_config() / FOLDER
    check = CHECK in arguments
    found = stale(folder) if check else write_schemas(folder)
    for path in found:
        sys.stdout.write(f"{path}: {'not current' if check else 'written'}\n")
    return int(check and bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
