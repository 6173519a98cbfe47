"""Where each kind of server tells how it is: the paths, and the names of things in its answers.

As published by vLLM 0.11, SGLang 0.5, llama.cpp's llama-server, Ollama 0.12 and Text Generation Inference 3. All of
them answer chats under /v1/chat/completions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from crew_moe.domain.hosting import HostKind

CHAT: Final = "/v1/chat/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A model that a server names. `told` changes with its weights, as far as the server tells; `loaded` None: not
    told; `managed`: the server loads and unloads it as it is asked for.
    """

    name: str
    told: str = ""
    loaded: bool | None = None
    managed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One kind of server. Paths are "" where it has none such.

    `alive` answers 200 when all is well, and 503 while it loads a model where it `starts_busy`. `running` lists what is
    in memory. `build` tells, by the fields `build_fields`, what answers depend on beside the model. `queue` is
    the gauge, under /metrics, of the requests that wait. `vectors` reads the rows of an answer of `embeddings`.
    """

    alive: str = ""
    starts_busy: bool = False
    models: str = "/v1/models"
    listed: Callable[[Any], Iterator[Listed]]
    running: str = ""
    build: str = ""
    build_fields: tuple[str, ...] = ()
    queue: str = ""
    default_tag: str = ""
    embeddings: str = "/v1/embeddings"
    vectors: Callable[[Any], list[Any]]


def _told(entry: Mapping[str, Any], *fields: str) -> str:
    """What these fields say, as one text."""
    return " ".join(str(entry[name]) for name in fields if entry.get(name) not in (None, "", {}))


def _entries(data: Any, field: str) -> list[Mapping[str, Any]]:
    rows = data.get(field) if isinstance(data, Mapping) else None
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _openai_models(data: Any) -> Iterator[Listed]:
    # Not `created`: vLLM puts the time of the request there.
    for row in _entries(data, "data"):
        if isinstance(row.get("id"), str):
            yield Listed(name=row["id"], told=_told(row, "root", "max_model_len", "meta"), loaded=True)


def _llamacpp_models(data: Any) -> Iterator[Listed]:
    """In router mode there may be many models, each with a status; a server of one model names that one, without."""
    rows = _entries(data, "data")
    for row in rows:
        status = row.get("status")
        value = status.get("value") if isinstance(status, Mapping) else None
        if isinstance(row.get("id"), str):
            loaded = value in (None, "loaded", "sleeping")
            told = _told(row, "path", "meta") if value is None else _told(row, "path")
            yield Listed(name=row["id"], told=told, loaded=loaded, managed=value is not None or len(rows) > 1)


def _ollama_models(data: Any) -> Iterator[Listed]:
    for row in _entries(data, "models"):
        if isinstance(row.get("name"), str):
            yield Listed(name=row["name"], told=_told(row, "digest"), managed=True)


def _tgi_model(data: Any) -> Iterator[Listed]:
    if isinstance(data, Mapping) and isinstance(data.get("model_id"), str):
        yield Listed(name=data["model_id"], told=_told(data, "model_sha", "model_dtype", "version"), loaded=True)


def _openai_vectors(data: Any) -> list[Any]:
    rows = sorted(_entries(data, "data"), key=lambda row: row["index"] if isinstance(row.get("index"), int) else 0)
    return [row.get("embedding") for row in rows]


def _ollama_vectors(data: Any) -> list[Any]:
    rows = data.get("embeddings") if isinstance(data, Mapping) else None
    return rows if isinstance(rows, list) else []


APIS: Final[Mapping[HostKind, Api]] = {
    HostKind.VLLM: Api(
        alive="/health",
        listed=_openai_models,
        build="/version",
        build_fields=("version",),
        queue="vllm:num_requests_waiting",
        vectors=_openai_vectors,
    ),
    HostKind.SGLANG: Api(
        alive="/health",
        listed=_openai_models,
        build="/get_model_info",
        build_fields=("model_path", "weight_version"),
        queue="sglang:num_queue_reqs",
        vectors=_openai_vectors,
    ),
    HostKind.LLAMACPP: Api(
        alive="/health",
        starts_busy=True,
        listed=_llamacpp_models,
        queue="llamacpp:requests_deferred",
        vectors=_openai_vectors,
    ),
    HostKind.OLLAMA: Api(
        models="/api/tags",
        listed=_ollama_models,
        running="/api/ps",
        build="/api/version",
        build_fields=("version",),
        default_tag=":latest",
        embeddings="/api/embed",
        vectors=_ollama_vectors,
    ),
    HostKind.TGI: Api(
        alive="/health",
        models="/info",
        listed=_tgi_model,
        queue="tgi_queue_size",
        embeddings="",
        vectors=_openai_vectors,
    ),
    HostKind.OPENAI: Api(listed=_openai_models, vectors=_openai_vectors),
}
