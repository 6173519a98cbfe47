"""Programs of the ledger's crash test: `python -m tests.acceptance.ledger_children work|watch URL FOLDER NAME STEPS`.

A worker writes down what it is about to end, and what was acknowledged, each in one line that outlives it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from random import Random
from typing import Any

from crew_moe.domain.budget import Refusal, RefusalReason, ScopeStatus
from crew_moe.domain.money import to_usd
from crew_moe.errors import InvalidInput
from crew_moe.ports import Ledger
from crew_moe.state import open_ledger

LEASES_S = (0.05, 0.5, 2.0)
CRASHES = 0.002  # of all steps
Fact = dict[str, Any]


class Worker:
    """Reserves, settles, releases, renews and crashes at random, near the limit at all times."""

    def __init__(self, ledger: Ledger, journal: Path, steps: int) -> None:
        facts = read(journal)
        self.ledger = ledger
        self.name = journal.stem
        self.left = steps - sum(fact["do"] == "step" for fact in facts)
        self.rng = Random(f"{self.name}/{len(facts)}")
        begun = {fact["id"] for fact in facts if fact["do"] == "end"}
        self.open = [fact for fact in facts if fact["do"] == "reserve" and fact["id"] not in begun]
        self.journal = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def run(self) -> None:
        for _ in range(self.left):
            self.tell(do="step")
            chance = self.rng.random()
            if chance < CRASHES:
                os.kill(os.getpid(), signal.SIGKILL)
            elif chance < 0.5 or not self.open:
                self.reserve()
            elif chance < 0.95:
                self.end(self.open.pop(self.rng.randrange(len(self.open))), release=chance > 0.85)
            else:
                self.renew(self.rng.choice(self.open))

    def reserve(self) -> None:
        amounts = [self.rng.randint(1, 40) for _ in range(self.rng.choice([1, 1, 1, 2]))]
        scopes = ("tenant:t", f"project:{self.rng.randrange(2)}", f"run:{self.name}")
        lease_s = self.rng.choice(LEASES_S)
        answer = self.ledger.reserve_group(scopes, usd=[to_usd(nano) for nano in amounts], lease_s=lease_s)
        if not isinstance(answer, Refusal):
            for one in answer:
                self.open.append(self.tell(do="reserve", id=one.id, nano=one.nano, scopes=one.scopes))
        elif answer.reason is RefusalReason.OVERRUN:
            self.ledger.reconcile(answer.scope)
        else:
            self.ledger.top_up(answer.scope, usd=to_usd(100))

    def end(self, held: Fact, *, release: bool) -> None:
        beyond = 5 if self.rng.random() < 0.01 else 0
        spent = 0 if release else self.rng.randint(0, held["nano"]) + beyond
        self.tell(**{**held, "do": "end", "spent": spent, "release": release})
        end(self.ledger, held["id"], spent, release=release)
        self.tell(do="ended", id=held["id"])

    def renew(self, held: Fact) -> None:
        try:
            self.ledger.renew(held["id"], lease_s=self.rng.choice(LEASES_S))
        except InvalidInput:
            self.tell(do="too late", id=held["id"])

    def tell(self, **fact: Any) -> Fact:
        os.write(self.journal, json.dumps(fact).encode() + b"\n")
        return fact


def end(ledger: Ledger, identity: str, spent: int, *, release: bool) -> None:
    """Settle or release; repeating it after a crash changes nothing that was done."""
    settlement = ledger.release(identity) if release else ledger.settle(identity, usd=to_usd(spent))
    if settlement.charged_usd != to_usd(spent):
        raise AssertionError(f"charged {settlement} where {spent} nano-USD were spent")


def read(journal: Path) -> list[Fact]:
    """What a worker wrote down."""
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    return [json.loads(line) for line in lines]


def work(ledger: Ledger, folder: Path, name: str, steps: int) -> None:
    Worker(ledger, folder / f"{name}.jsonl", steps).run()


def watch(ledger: Ledger, folder: Path, name: str, _: int) -> None:
    """Look at every limit until the file `done` is there; write down how often, and each that was passed."""
    looks, pause = 0, threading.Event()
    passed: list[Fact] = []
    while not (folder / "done").exists():
        passed += [status.as_dict() for status in ledger.statuses() if _passes(status)]
        looks += 1
        pause.wait(0.002)  # so that the workers have the processor
    (folder / f"{name}.json").write_text(json.dumps({"looks": looks, "passed": passed}), encoding="utf-8")


def _passes(status: ScopeStatus) -> bool:
    return status.limit_usd is not None and status.settled_usd + status.reserved_usd > status.limit_usd


if __name__ == "__main__":
    program, url, where, called, count = sys.argv[1:]
    {"work": work, "watch": watch}[program](open_ledger(url), Path(where), called, int(count))
