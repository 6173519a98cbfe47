"""How long hosted models take for texts of seed 003's three lengths, and what int8 saves of time and memory.

The models have the shapes of small real ones and random weights, which take as long as trained ones. Needs the extra
`local`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final

import numpy as np

from crew_moe.domain.hosting import HostKind, HostSpec, Quantisation
from crew_moe.domain.local_work import Work
from crew_moe.local_gate.hosts import open_host
from crew_moe.local_gate.trial import WORDS, prose
from crew_moe.ports import Host
from tests.benchmarks.figure import Figure
from tests.benchmarks.measure import Timing, in_turns

ANSWER_TOKENS: Final = 16
MIB: Final = 2**20
MOST_S: Final[Mapping[str, Mapping[str, float]]] = {
    "byt5": {"short": 2.0, "medium": 5.0, "long": 15.0},
    "longformer": {"short": 3.0, "medium": 8.0, "long": 25.0},
}
"""The upper ends of seed 003's table, which is about larger models on an unnamed machine."""


def host_times(*, rounds: int) -> Iterator[Figure]:
    """Seconds per answer by kind and length, and what int8 makes of them; all in turns."""
    with TemporaryDirectory() as root:
        hosts = {
            (kind, numbers): _loaded(kind, folder, numbers)
            for kind, folder in (("byt5", _byt5(Path(root) / "byt5")), ("longformer", _led(Path(root) / "led")))
            for numbers in Quantisation
        }
        asked = {(*key, length): (host, length) for key, host in hosts.items() for length in WORDS}
        contenders: dict[str, Callable[[], Timing]] = {
            "/".join(key): partial(_answering, host, WORDS[length], Random(0)) for key, (host, length) in asked.items()
        }
        seen = in_turns(contenders, rounds)
        yield from _table(hosts, {key: seen["/".join(key)].p50_us / 1e6 for key in asked})


def _table(
    hosts: Mapping[tuple[str, Quantisation], Host], seconds: Mapping[tuple[str, Quantisation, str], float]
) -> Iterator[Figure]:
    none, int8 = Quantisation.NONE, Quantisation.INT8
    for kind, most in MOST_S.items():
        memory = {numbers: hosts[kind, numbers].health().memory_bytes for numbers in Quantisation}
        group = f"hosted experts: {kind}, {memory[none] / MIB:,.0f} MiB of random weights, {ANSWER_TOKENS} tokens made"
        for length, words in WORDS.items():
            taken = seconds[kind, none, length]
            yield Figure(group=group, name=f"{length}, {words} words", value=taken, unit="s", at_most=most[length])
        for length in WORDS:
            faster = seconds[kind, none, length] / seconds[kind, int8, length]
            yield Figure(group=group, name=f"float32 over int8, {length}", value=faster, unit="x")
        smaller = memory[none] / memory[int8]
        yield Figure(group=group, name="memory, float32 over int8", value=smaller, unit="x", at_least=1.5)
        near = _nearness(hosts[kind, none], hosts[kind, int8])
        yield Figure(group=group, name="embeddings, int8 to float32", value=near, unit="cosine", at_least=0.95)


def _answering(host: Host, words: int, rng: Random) -> Timing:
    """One answer, by the clock: the work is done in torch's own threads."""
    work = Work(text=prose(words, rng))
    began = perf_counter()
    host.process([work])
    taken_us = (perf_counter() - began) * 1e6
    return Timing(taken_us, taken_us)


def _nearness(one: Host, other: Host) -> float:
    texts = [prose(60, Random(seed)) for seed in range(4)]
    return float(np.min(np.sum(one.embed(texts) * other.embed(texts), axis=1)))


def _loaded(kind: str, folder: Path, numbers: Quantisation) -> Host:
    spec = HostSpec(
        name=kind,
        kind=HostKind(kind),
        path=folder,
        device="cpu",
        quantisation=numbers,
        max_output_tokens=ANSWER_TOKENS,
        chunk_tokens=8192,  # of a long text too, one answer is made
    )
    host = open_host(spec)
    host.load()
    return host


def _byt5(folder: Path) -> Path:
    """ByT5-small's make, at a fifth of its width and a third of its layers."""
    from transformers import T5Config, T5ForConditionalGeneration

    from tests.local_gate.hosts.tiny_models import talks_in

    config = T5Config(
        vocab_size=384,
        d_model=320,
        d_kv=64,
        d_ff=896,
        num_layers=4,
        num_decoder_layers=1,
        num_heads=5,
        feed_forward_proj="gated-gelu",
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    model = T5ForConditionalGeneration(config)
    talks_in(model, list(range(100, 120)))  # letters; a random model would end at once, or never
    return _saved(model, folder)


def _led(folder: Path) -> Path:
    """LED-base's make, at a third of its width and of its layers."""
    from transformers import LEDConfig, LEDForConditionalGeneration

    from tests.local_gate.hosts.tiny_models import bpe, talks_in

    words = bpe()
    config = LEDConfig(
        vocab_size=len(words),
        d_model=256,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=1024,
        decoder_ffn_dim=1024,
        max_encoder_position_embeddings=8192,
        max_decoder_position_embeddings=128,
        attention_window=256,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
        decoder_start_token_id=1,
    )
    model = LEDForConditionalGeneration(config)
    talks_in(model, list(range(100, 120)))
    return _saved(model, folder, words)


def _saved(model: Any, folder: Path, words: Any = None) -> Path:
    from transformers.utils import logging

    logging.disable_progress_bar()
    model.save_pretrained(folder)
    if words is not None:
        words.save_pretrained(folder)
    return folder
