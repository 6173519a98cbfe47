"""Loads a model and its tokenizer through transformers' `from_pretrained`. Needs torch and transformers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
import transformers

from crew_moe.domain.hosting import HostSpec, Quantisation
from crew_moe.errors import ConfigError, HostFailed
from crew_moe.local_gate.demo.manifest import DemoManifest, read_manifest
from crew_moe.local_gate.hosts.device import device_of, dtype_of, memory_bytes, quantised
from crew_moe.local_gate.hosts.failures import bad_weights, missing_weights
from crew_moe.local_gate.hosts.weights import source

OPTIONAL_PARTS: Final = ("pooler",)
"""Parts of a model whose weights may be absent: no answer of ours is made with them."""

_one_at_a_time: Final = threading.Lock()
"""transformers keeps state of its own while it loads: of two models at once, one comes out without its tied weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model ready to be asked, on its device. `window`: it takes lengths that are multiples of this (None: any).
    `commit` is the hub's name of what was loaded.
    """

    model: Any
    tokenizer: Any
    device: torch.device
    dtype: str
    memory_bytes: int
    window: int | None = None
    commit: str | None = None


def load(spec: HostSpec, model: str, *, tokenizer: Callable[[], Any] | None = None) -> LoadedModel:
    """The spec's weights in the transformers class named `model`; its tokenizer from the same place, or from a factory.

    A folder is read without the network; a hub's model comes from the hub's cache, and from the hub itself only where
    the cache lacks it. Raises HostFailed.
    """
    device = device_of(spec)
    dtype = dtype_of(spec, device)
    place = source(spec)
    with _one_at_a_time, _quiet():
        net, info = _fetched(spec, getattr(transformers, model), place, dtype=dtype, output_loading_info=True)
        words = tokenizer() if tokenizer else _fetched(spec, transformers.AutoTokenizer, place)
    _check_whole(place, info)
    _check_knows_words(place, words)
    net = net.eval()
    if spec.quantisation is Quantisation.INT8:
        net = quantised(net)
    return LoadedModel(
        model=net.to(device),
        tokenizer=words,
        device=device,
        dtype=str(dtype).removeprefix("torch."),
        memory_bytes=memory_bytes(net),
        window=_window(net.config),
        commit=getattr(net.config, "_commit_hash", None),
    )


def _window(config: Any) -> int | None:
    """Longformers attend in windows, one width for each layer or for all."""
    widths = getattr(config, "attention_window", None)
    return max(widths) if isinstance(widths, list) else widths


def config_of(spec: HostSpec) -> Any:
    """What the weights' config says of the model. Raises HostFailed."""
    with _one_at_a_time, _quiet():
        return _fetched(spec, transformers.AutoConfig, source(spec))


def manifest_of(spec: HostSpec) -> DemoManifest | None:
    """What a model of our own training tells of itself; None for any other. Raises HostFailed where it is broken."""
    if spec.path is None:
        return None
    try:
        return read_manifest(spec.path)
    except ConfigError as error:
        what = str(error)
    raise bad_weights(what)


def _fetched(spec: HostSpec, kind: Any, place: str, **how: Any) -> Any:
    """from_pretrained, with errors told in our words: those of memory and of missing libraries stay what they are."""
    if spec.path is not None:
        try:
            return kind.from_pretrained(place, local_files_only=True, **how)
        except (MemoryError, ImportError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - damaged files end in errors of any class
            failed = _unreadable(place, error)
        raise failed
    for cached in (True, False):
        try:
            return kind.from_pretrained(place, revision=spec.revision, local_files_only=cached, **how)
        except OSError:
            continue
    raise missing_weights(
        f"the model '{place}' is not in the hub's cache, and could not be had from the hub",
        "check `hub:` and `revision:`, and that this machine reaches the hub",
        "or fetch the model elsewhere and give its folder as `path:`",
    )


def _unreadable(place: str, error: Exception) -> HostFailed | RuntimeError:
    """An error of memory stays one, for whoever tells of it."""
    if isinstance(error, RuntimeError) and "memory" in str(error).lower():
        return error
    return bad_weights(f"the model in {place} can't be loaded ({type(error).__name__})")


def _check_whole(place: str, info: dict[str, Any]) -> None:
    """Weights that are absent or of another shape would be random numbers."""
    absent = sorted(key for key in info["missing_keys"] if not any(part in key for part in OPTIONAL_PARTS))
    odd = sorted(str(key) for key in info["mismatched_keys"])
    if absent or odd:
        example = (absent or odd)[0]
        raise bad_weights(
            f"the model in {place} lacks {len(absent)} of its tensors and {len(odd)} have another shape "
            f"(the first: {example}); is it of the expert's `kind:`?"
        )


def _check_knows_words(place: str, tokenizer: Any) -> None:
    """Without its files, a tokenizer is made that knows special tokens alone."""
    if len(tokenizer.get_vocab().keys() - tokenizer.added_tokens_encoder.keys()) <= 1:
        raise missing_weights(
            f"the model in {place} has no tokenizer (tokenizer.json, or what its kind of tokenizer reads)",
            "save the model's tokenizer into the same folder",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and reports on stderr while loading."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
