"""Processes that form a gloo process group on this machine, for tests."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as processes
from torch import distributed


def on_ranks(ranks: int, work: Callable[[], Any], folder: Path, *, timeout_s: float = 60.0) -> list[Any]:
    """What `work()` returns on each rank; None where the process ended without a word.

    `work` is pickled: a function of a module. `timeout_s` is the group's, for each of its operations.
    """
    context = processes.get_context("forkserver")  # torch is imported once, not by each of them
    context.set_forkserver_preload(["crew_moe.local_gate.layer.parallel"])
    started = [
        context.Process(target=_one, args=(rank, ranks, work, str(folder), timeout_s), daemon=True)
        for rank in range(ranks)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(4 * timeout_s)
        process.kill()
    made = [folder / f"{rank}.pt" for rank in range(ranks)]
    return [torch.load(path, weights_only=False) if path.exists() else None for path in made]


def _one(rank: int, ranks: int, work: Callable[[], Any], folder: str, timeout_s: float) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/group",
        rank=rank,
        world_size=ranks,
        timeout=datetime.timedelta(seconds=timeout_s),
    )
    torch.save(work(), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()
