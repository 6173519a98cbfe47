"""local.yaml -> LocalPlan: what the local gate hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from crew_moe.catalog.local_schema import MAX_EXAMPLES, GateEntry, HostEntry, LocalFile, keys_of
from crew_moe.catalog.locate import layers
from crew_moe.catalog.parse import parse_documents
from crew_moe.documents import read_mapping, read_yaml
from crew_moe.domain.address import is_web_address
from crew_moe.domain.host_rules import is_public
from crew_moe.domain.hosting import BatchSpec, CacheSpec, GateSpec, HostSpec, LocalPlan
from crew_moe.errors import ConfigError
from crew_moe.settings import read_settings

FILE: Final = "local.yaml"
GATES: Final = "gates"
"""The folder, among the models, of gates that were trained on examples."""
AUTO: Final = "auto"
"""No expert may be called so: the name stands for the gate's own choice."""
PUBLIC: Final = (
    "is a public address, and hosted experts get texts that may not leave your machines; if the server is one of them,"
    " say so, and if not, enter it in experts.yaml"
)

Document = tuple[Path, Mapping[str, Any]]


def load_local(config: Path | None = None, models: Path | None = None) -> LocalPlan:
    """The packaged local.yaml with the one of the folder `config` over it, key by key.

    An expert whose `kind` is said again is taken whole, so that nothing of the one below it stays; one that is null is
    gone. A relative path is looked for beside the file that says it, then in the folder `models` (None:
    CREW_MOE_MODELS), where it stands for what may still come. Raises ConfigError, which names file, key, what is
    allowed and the closest match.
    """
    documents = _whole_experts([(file, read_mapping(file)) for file in layers(FILE, config)])
    parsed = parse_documents(documents, LocalFile)
    layered = _Layered(documents=documents, models=models or read_settings().models)
    hosts = {name: _host(name, entry, layered) for name, entry in parsed.experts.items() if entry is not None}
    return LocalPlan(
        hosts=hosts,
        gate=_gate(parsed.gate, hosts, layered),
        batch=BatchSpec(**parsed.batch.model_dump()),
        cache=CacheSpec(**parsed.cache.model_dump()),
        fallback=parsed.fallback,
        memory_limit_mb=parsed.memory_limit_mb,
        timeout_s=parsed.timeout_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layered:
    """The files that were read, lowest first, and the folder of models."""

    documents: Sequence[Document]
    models: Path

    def file(self, *keys: str) -> Path:
        """The file of highest precedence that holds the key; the topmost one where none does."""
        holding = (file for file, document in reversed(self.documents) if _holds(document, keys))
        return next(holding, self.documents[-1][0])

    def wrong(self, what: str, *keys: str, value: object = None, allowed: Sequence[str] = ()) -> ConfigError:
        return ConfigError(what, file=str(self.file(*keys)), key=".".join(keys), value=value, allowed=allowed)

    def path(self, written: str, *keys: str) -> Path:
        """Where the path of that key leads."""
        beside = self.beside(written, *keys)
        return beside if beside.exists() or Path(written).expanduser().is_absolute() else self.models / written

    def beside(self, written: str, *keys: str) -> Path:
        """The path as it is seen from the file of that key."""
        try:
            path = self.file(*keys).parent / Path(written).expanduser()
            path.exists()
        except (OSError, RuntimeError) as error:  # a name that is too long; a user's home that there is not
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise self.wrong(f"is no path ({why})", *keys) from None
        return path


def _whole_experts(documents: Sequence[Document]) -> list[Document]:
    """The documents, with each expert left out below the one whose kind is said again."""
    whole: list[Document] = []
    for file, document in documents:
        again = {name for name, entry in _experts(document).items() if isinstance(entry, Mapping) and "kind" in entry}
        whole = [(below, _without(lower, again)) for below, lower in whole]
        whole.append((file, document))
    return whole


def _without(document: Mapping[str, Any], names: set[str]) -> Mapping[str, Any]:
    kept = {name: entry for name, entry in _experts(document).items() if name not in names}
    return {**document, "experts": kept} if _experts(document) else document


def _experts(document: Mapping[str, Any]) -> Mapping[str, Any]:
    experts = document.get("experts")
    return experts if isinstance(experts, Mapping) else {}


def _holds(document: Any, keys: Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(document, Mapping) or key not in document:
            return False
        document = document[key]
    return True


def _host(name: str, entry: HostEntry, layered: _Layered) -> HostSpec:
    _check(name, entry, layered)
    path = None if entry.path is None else layered.path(entry.path, "experts", name, "path")
    told = entry.model_dump(exclude={"path", "own", "examples", "examples_file"})
    return HostSpec(name=name, path=path, examples=_examples(name, entry, layered), **told)


def _check(name: str, entry: HostEntry, layered: _Layered) -> None:
    if name == AUTO:
        raise layered.wrong("stands for the gate's own choice: no expert may be called so", "experts", name)
    allowed = keys_of(entry.kind)
    foreign = sorted(entry.given - allowed)
    if foreign:
        told = f"does not belong to an expert of kind '{entry.kind}'"
        raise layered.wrong(told, "experts", name, foreign[0], value=foreign[0], allowed=sorted(allowed))
    if entry.kind.is_remote:
        _check_remote(name, entry, layered)
    elif entry.kind.has_weights and (entry.path is None) == (entry.hub is None):
        raise layered.wrong("needs either a path or a hub id of its weights", "experts", name, allowed=("path", "hub"))
    if entry.revision is not None and entry.hub is None:
        raise layered.wrong("only weights of the hub have one", "experts", name, "revision", allowed=("hub",))


def _check_remote(name: str, entry: HostEntry, layered: _Layered) -> None:
    for key, value in (("base_url", entry.base_url), ("model", entry.model)):
        if not value:
            raise layered.wrong(f"an expert of kind '{entry.kind}' needs '{key}'", "experts", name)
    url, place = entry.base_url or "", ("experts", name, "base_url")  # never shown: it may hold a password
    if not is_web_address(url):
        raise layered.wrong("is no address that begins with http:// or https://", *place)
    if "?" in url or "#" in url:
        raise layered.wrong("must have no query and no fragment; a key goes into `api_key_env`", *place)
    if not entry.own and is_public(urlsplit(url).hostname or ""):
        raise layered.wrong(PUBLIC, *place, allowed=("own: true",))


def _examples(name: str, entry: HostEntry, layered: _Layered) -> tuple[str, ...]:
    """The texts that stand in the entry, then those in its file: a list of texts, as YAML or JSON."""
    if entry.examples_file is None:
        return tuple(entry.examples)
    keys = ("experts", name, "examples_file")
    file = layered.beside(entry.examples_file, *keys)
    texts = read_yaml(file)
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise ConfigError("must be a list of texts", file=str(file))
    if len(texts) > MAX_EXAMPLES:
        raise ConfigError("has too many texts", file=str(file), allowed=(f"up to {MAX_EXAMPLES:,}",))
    return (*entry.examples, *texts)


def _gate(entry: GateEntry, hosts: Mapping[str, HostSpec], layered: _Layered) -> GateSpec:
    if entry.otherwise is not None and entry.otherwise not in hosts:
        raise layered.wrong(
            f"unknown expert '{entry.otherwise}'", "gate", "otherwise", value=entry.otherwise, allowed=sorted(hosts)
        )
    model = None if entry.model is None else layered.path(entry.model, "gate", "model")
    return GateSpec(
        model=model,
        otherwise=entry.otherwise,
        min_confidence=entry.min_confidence,
        capacity_factor=entry.capacity_factor,
        kept_in=layered.models / GATES,
    )
