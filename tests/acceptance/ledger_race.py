"""Processes that race for one budget and are killed on the way; and the sums that must come out."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from crew_moe.domain.budget import OpenCharge, Phase
from crew_moe.domain.money import to_nano, to_usd
from crew_moe.ports import Ledger
from crew_moe.state import open_ledger
from tests.acceptance.ledger_children import Fact, end, read

ROOT = Path(__file__).parents[2]
KILLED = -9
LIVES = 4  # of each worker that end by the parent's hand
LIFETIME_S = (0.3, 4.0)
PATIENCE_S = 60.0
PATIENCE_PER_STEP_S = 0.03
POLL_S = 0.02


@dataclass
class Life:
    """One worker, over all of its processes."""

    process: subprocess.Popen[bytes]
    ends_at: float
    killed: int = 0
    codes: list[int] = field(default_factory=list)


@dataclass
class Race:
    """What a race left behind."""

    ledger: Ledger
    facts: list[Fact]
    deaths: int
    codes: Counter[int]
    looks: int
    passed: list[Fact]

    def finish(self) -> tuple[OpenCharge, ...]:
        """Say again what nobody knows to be said, and wait for the last leases; the charges that lapsed."""
        ended = {fact["id"] for fact in self.facts if fact["do"] == "ended"}
        for fact in self.ends():
            if fact["id"] not in ended:
                end(self.ledger, fact["id"], fact["spent"], release=fact["release"])
        deadline = time.monotonic() + PATIENCE_S
        while any(charge.phase is Phase.HELD for charge in self.ledger.open_charges()):
            assert time.monotonic() < deadline
            time.sleep(POLL_S)
        return tuple(self.ledger.open_charges())

    def ends(self) -> list[Fact]:
        return [fact for fact in self.facts if fact["do"] == "end"]

    def unreported(self) -> set[str]:
        """Reservations that were acknowledged and never ended."""
        begun = {fact["id"] for fact in self.ends()}
        return {fact["id"] for fact in self.facts if fact["do"] == "reserve"} - begun

    def expected(self, lapsed: tuple[OpenCharge, ...]) -> dict[str, tuple[int, int]]:
        """Settled and overrun nano-USD by scope: what was acknowledged, and what lapsed."""
        settled: Counter[str] = Counter()
        overrun: Counter[str] = Counter()
        for fact in self.ends():
            for scope in fact["scopes"]:
                settled[scope] += min(fact["nano"], fact["spent"])
                overrun[scope] += max(0, fact["spent"] - fact["nano"])
        for charge in lapsed:
            for scope in charge.scopes:
                settled[scope] += to_nano(charge.reserved_usd)
        return {scope: (settled[scope], overrun[scope]) for scope in settled}


def race(url: str, folder: Path, *, processes: int, steps: int, seed: int) -> Race:
    """Run it to the end. Raises when a worker ends in any way but well or killed."""
    ledger = open_ledger(url)
    for scope, nano in (("tenant:t", 1_000), ("project:0", 700), ("project:1", 700)):
        ledger.set_limit(scope, usd=to_usd(nano))
    names = [f"w{number}" for number in range(processes)]
    watcher = _start("watch", url, folder, "watcher", 0)
    try:
        lives = _race(url, folder, names, steps, Random(seed))
    finally:
        (folder / "done").touch()
        watcher.wait(PATIENCE_S)
    seen = json.loads((folder / "watcher.json").read_text(encoding="utf-8"))
    codes = Counter(code for life in lives for code in life.codes)
    facts = [fact for name in names for fact in read(folder / f"{name}.jsonl")]
    return Race(ledger, facts, codes[KILLED], codes, seen["looks"], seen["passed"])


def _race(url: str, folder: Path, names: list[str], steps: int, rng: Random) -> list[Life]:
    def born(name: str) -> subprocess.Popen[bytes]:
        return _start("work", url, folder, name, steps)

    def death() -> float:
        return time.monotonic() + rng.uniform(*LIFETIME_S)

    lives = {name: Life(born(name), death()) for name in names}
    deadline = time.monotonic() + PATIENCE_S + PATIENCE_PER_STEP_S * steps * len(names)
    racing = set(names)
    while racing:
        assert time.monotonic() < deadline, "the race takes too long"
        for name in sorted(racing):
            life = lives[name]
            code = life.process.poll()
            if code is not None:
                life.codes.append(code)
                if code != KILLED:
                    racing.discard(name)
                    continue
                life.process, life.ends_at = born(name), death()
            elif life.killed < LIVES and time.monotonic() > life.ends_at:
                life.process.kill()
                life.process.wait()
                life.killed += 1
        time.sleep(POLL_S)
    return list(lives.values())


def _start(program: str, url: str, folder: Path, name: str, steps: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.acceptance.ledger_children", program, url, str(folder), name, str(steps)]
    return subprocess.Popen(command, cwd=ROOT)
