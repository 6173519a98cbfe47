"""Configuration folders for tests: whole files, or a change laid over the packaged ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from crew_moe.catalog import load_policy, load_registry
from crew_moe.domain.policy import Policy
from crew_moe.domain.registry import Registry
from crew_moe.errors import ConfigError
from crew_moe.strategies import STRATEGIES


def folder(path: Path, **files: Any) -> Path:
    """Write `experts=` and `policy=` (text, bytes or a mapping) into `path`."""
    for name, content in files.items():
        text = content if isinstance(content, str | bytes) else yaml.safe_dump(content)
        (path / f"{name}.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def load(path: Path) -> tuple[Registry, Policy]:
    registry = load_registry(path)
    return registry, load_policy(path, registry, STRATEGIES)


def mistake(path: Path) -> ConfigError:
    """The one error that loading this folder gives."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    return caught.value
