"""Access rules of policy.yaml, and the Cedar policies that lie beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from crew_moe.catalog.locate import packaged_config
from crew_moe.catalog.schema import AccessEntry, WhenEntry, WhichEntry, WhoEntry
from crew_moe.documents import read_text
from crew_moe.domain.access import AccessRule, PolicyText, When, Which, Who
from crew_moe.domain.registry import Registry
from crew_moe.errors import ConfigError

FOLDER: Final = "policies"
SUFFIX: Final = ".cedar"
Word = TypeVar("Word", bound=str)


def access_rules(entries: Sequence[AccessEntry], registry: Registry, file: str) -> tuple[AccessRule, ...]:
    """The rules of an `access` section. Raises ConfigError for an expert or provider that the registry lacks, and for
    two rules of one name.
    """
    names: set[str] = set()
    for index, entry in enumerate(entries):
        if entry.name in names:
            raise ConfigError(f"two rules are called '{entry.name}'", file=file, key=f"access.{index}.name")
        names.add(entry.name)
        for key, word, allowed in _named(entry, registry):
            if word not in allowed:
                raise ConfigError(
                    f"unknown name '{word}'", file=file, key=f"access.{index}.{key}", value=word, allowed=allowed
                )
    return tuple(_rule(entry) for entry in entries)


def read_policies(config: Path | None) -> tuple[PolicyText, ...]:
    """The packaged Cedar policies and those of the folder `config`, by name; of two files of one name the folder's."""
    found: dict[str, Path] = {}
    for base in (packaged_config(), config):
        if base is not None:
            folder = base / FOLDER
            found |= {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    return tuple(PolicyText(name=name, file=str(path), text=read_text(path)) for name, path in sorted(found.items()))


def _files(folder: Path) -> Iterable[Path]:
    """Every policy below the folder: one that lies deeper than expected must not be passed over in silence."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError("must be a folder", file=str(folder))
    return (path for path in folder.rglob("*") if path.suffix.lower() == SUFFIX)


def _named(entry: AccessEntry, registry: Registry) -> Iterator[tuple[str, str, Sequence[str]]]:
    """(key, name, what may stand there) of everything that must be in the registry."""
    for part, which in (("forbid", entry.forbid), ("only", entry.only)):
        if which is not None:
            yield from ((f"{part}.ids", name, sorted(registry.by_id)) for name in which.ids or ())
            yield from ((f"{part}.providers", name, registry.providers) for name in which.providers or ())


def _rule(entry: AccessEntry) -> AccessRule:
    return AccessRule(
        name=entry.name,
        who=_who(entry.who),
        when=_when(entry.when),
        unless=tuple(_who(exempt) for exempt in entry.unless),
        forbid=None if entry.forbid is None else _which(entry.forbid),
        only=None if entry.only is None else _which(entry.only),
    )


def _who(entry: WhoEntry) -> Who:
    return Who(
        tenants=_set(entry.tenants),
        roles=_set(entry.roles),
        channels=_set(entry.channels),
        workspaces=_set(entry.workspaces),
        users=_set(entry.users),
    )


def _when(entry: WhenEntry) -> When:
    return When(risks=_set(entry.risks), residencies=_set(entry.residencies), task_types=_set(entry.task_types))


def _which(entry: WhichEntry) -> Which:
    return Which(
        ids=_set(entry.ids),
        providers=_set(entry.providers),
        tiers=_set(entry.tiers),
        regions=_set(entry.regions),
        self_hosted=entry.self_hosted,
        moderated=entry.moderated,
    )


def _set(words: Iterable[Word] | None) -> frozenset[Word]:
    return frozenset(words or ())
