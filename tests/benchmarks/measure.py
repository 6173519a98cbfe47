"""How time and memory are measured: CPU time per call, in turns, so that a busy machine disturbs all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

PAGE_KIB: Final = 4
CLOCK_SAMPLES: Final = 2_000
Clock = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Timing:
    """Time of single calls, in microseconds."""

    p50_us: float
    p99_us: float


def quantile(ordered: Sequence[float], q: float) -> float:
    """The value below which a share `q` of the ordered samples lies."""
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def timing(samples_ns: Sequence[int], clock: Clock = time.thread_time_ns) -> Timing:
    """Quantiles of raw samples, the cost of reading the clock taken off."""
    own_ns = median(sample_ns(lambda _: None, CLOCK_SAMPLES, clock))
    ordered = sorted(max(sample - own_ns, 0.0) for sample in samples_ns)
    return Timing(quantile(ordered, 0.50) / 1e3, quantile(ordered, 0.99) / 1e3)


def sample_ns(call: Callable[[int], object], calls: int, clock: Clock = time.thread_time_ns) -> list[int]:
    """Thread CPU time (or what another clock counts) of each of `calls` calls; the call gets its number."""
    samples = []
    for number in range(calls):
        start = clock()
        call(number)
        samples.append(clock() - start)
    return samples


def in_turns(contenders: Mapping[str, Callable[[], Timing]], rounds: int) -> dict[str, Timing]:
    """Each contender once per round; its median over the rounds. The first round only warms up."""
    seen: dict[str, list[Timing]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, contender in contenders.items():
            measured = contender()
            if number:
                seen[name].append(measured)
    return {
        name: Timing(median(t.p50_us for t in timings), median(t.p99_us for t in timings))
        for name, timings in seen.items()
    }


def cpu_s(call: Callable[[], Any]) -> float:
    """CPU seconds that one call takes, those of the process's other threads included."""
    start = time.process_time()
    call()
    return time.process_time() - start


def rss_mib() -> float:
    """Resident memory of this process, in MiB (2^20 bytes)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * PAGE_KIB / 1024
