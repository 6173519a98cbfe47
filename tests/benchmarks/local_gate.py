"""What choosing a hosted expert costs, how the cost grows with the text, and how evenly balanced traffic is spread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from crew_moe.domain.hosting import GateSpec, HostKind, HostSpec
from crew_moe.local_gate.features import features
from crew_moe.local_gate.gate.corpus import packaged_examples
from crew_moe.local_gate.gate.gate import Gate
from crew_moe.screening.language import language_detector
from tests.benchmarks.figure import Figure
from tests.benchmarks.material import text_of
from tests.benchmarks.measure import Timing, cpu_s, in_turns, sample_ns, timing

SIZES: Final = (200, 2_000, 20_000)
HUGE: Final = 10_000_000  # characters
EXPERTS: Final = ("byt5", "extractive", "longformer")
SQL: Final = ("SELECT a FROM t WHERE b = 1;", "How do I join two tables?", "DELETE FROM t WHERE a > 3;")


def gate_costs(*, calls: int, rounds: int) -> Iterator[Figure]:
    """Features and whole choices, CPU time per call."""
    hosts = {name: HostSpec(name=name, kind=HostKind(name)) for name in EXPERTS}
    gate, languages = Gate.open(GateSpec(), hosts), language_detector()
    texts = {size: text_of(size) for size in SIZES}
    languages.detect(texts[200])  # its models are loaded once
    contenders: dict[str, Callable[[], Timing]] = {
        f"features {size}": partial(_looking, text, calls) for size, text in texts.items()
    }
    contenders |= {f"choice {size}": partial(_choosing, gate, texts[size], calls) for size in SIZES[:2]}
    contenders["language"] = lambda: timing(sample_ns(lambda _: languages.detect(texts[2_000]), max(3, calls // 20)))
    contenders["huge"] = partial(_looking, text_of(HUGE), 3)
    seen = in_turns(contenders, rounds)

    figure = partial(Figure, group="local gate: looking at a text and choosing, CPU p50", unit="us")
    for size in SIZES:
        most = 300.0 if size <= 2_000 else None
        yield figure(name=f"features, {size:,} characters", value=seen[f"features {size}"].p50_us, at_most=most)
    for size in SIZES[:2]:
        note = "features, network and choice"
        yield figure(name=f"gate, {size:,} characters", value=seen[f"choice {size}"].p50_us, at_most=500.0, note=note)
    yield figure(
        name="language, 2,000 characters", value=seen["language"].p50_us, note="only where a detector is given"
    )
    growth = seen["features 20000"].p50_us / seen["features 2000"].p50_us
    yield Figure(group="local gate: growth", name="20,000 over 2,000 characters", value=growth, unit="x", at_most=10.0)
    growth = seen["huge"].p50_us / seen["features 20000"].p50_us
    yield Figure(group="local gate: growth", name="10 MB over 20,000 characters", value=growth, unit="x", at_most=500.0)


def gate_quality() -> Iterator[Figure]:
    """Balance over texts that are spread evenly, held-out figures, and the time to learn an expert by examples."""
    hosts = {name: HostSpec(name=name, kind=HostKind(name)) for name in EXPERTS}
    gate = Gate.open(GateSpec(), hosts)
    examples = list(packaged_examples(seed=7))
    for name in EXPERTS:
        for one in [one for one in examples if one.expert == name][:150]:
            gate.choose(gate.features(one.text), EXPERTS)
    told, held_out = gate.diagnostics(), gate.file.provenance["figures"]
    figure = partial(Figure, group="local gate: balance and lessons", unit="")
    yield figure(name="CV^2 of load, balanced traffic", value=told.load_cv2, at_most=0.1)
    yield figure(name="CV^2 of importance, balanced traffic", value=told.importance_cv2, at_most=0.1)
    yield figure(name="accuracy on held-out templates", value=held_out["accuracy"], at_least=0.9)
    yield figure(name="calibration error on them", value=held_out["calibration_error_after"], at_most=0.05)
    plan = {**hosts, "sql": HostSpec(name="sql", kind=HostKind.PYTHON, examples=SQL)}
    taken_s = cpu_s(lambda: Gate.open(GateSpec(), plan))
    yield figure(name="opening with a new expert's examples, CPU", value=taken_s, unit="s", at_most=2.0)


def _looking(text: str, calls: int) -> Timing:
    return timing(sample_ns(lambda _: features(text), calls))


def _choosing(gate: Gate, text: str, calls: int) -> Timing:
    return timing(sample_ns(lambda _: gate.choose(gate.features(text), EXPERTS), calls))
