"""`crew-moe local bench`: how long the hosted experts take on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crew_moe.cli.options import AsJson, Config, config_folder
from crew_moe.cli.output import err, fail, say, show_table, write_json

if TYPE_CHECKING:
    from crew_moe.domain.hosting import LocalPlan
    from crew_moe.domain.local_work import LocalRefusal
    from crew_moe.local_gate.trial import Times

MIB = 1024 * 1024


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench")(bench)


def bench(
    expert: Annotated[
        list[str] | None, typer.Option("--expert", metavar="NAME", help="Only this one; repeatable.")
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=1000, help="Texts of each length.")] = 5,
    config: Config = None,
    as_json: AsJson = False,
) -> int:
    """Measure every hosted expert of local.yaml: its first answer, short, medium and long texts (the median), and how
    many short ones it does in a second when they come at once.
    """
    from crew_moe.catalog.local import load_local

    plan = _only(load_local(config_folder(config)), expert or ())
    measured, refused = asyncio.run(_measure(plan, rounds))
    if as_json:
        write_json({"experts": [row.as_dict() for row in measured], "refused": [_refused(one) for one in refused]})
    else:
        _show(measured, refused)
    return 0 if measured else fail("no expert could be measured", 1)


def _only(plan: LocalPlan, names: Iterable[str]) -> LocalPlan:
    from dataclasses import replace

    from crew_moe.errors import UnknownExpert

    for name in names:
        if name not in plan.hosts:
            raise UnknownExpert(name, tuple(plan.hosts), where="--expert")
    wanted = list(names) or list(plan.hosts)
    return replace(plan, hosts={name: plan.hosts[name] for name in wanted})


async def _measure(plan: LocalPlan, rounds: int) -> tuple[list[Times], list[LocalRefusal]]:
    from crew_moe.domain.local_work import LocalRefusal
    from crew_moe.local_gate.serving import LocalGate
    from crew_moe.local_gate.trial import times

    measured, refused = [], []
    gate = LocalGate.open(plan)
    try:
        with err().status("measuring ...") as status:
            async for name, row in times(gate, rounds=rounds):
                status.update(f"measured {name} ...")
                if isinstance(row, LocalRefusal):
                    refused.append(row)
                else:
                    measured.append(row)
    finally:
        await gate.aclose()
    return measured, refused


def _refused(one: LocalRefusal) -> dict[str, Any]:
    return {"expert": one.expert, "trouble": one.trouble, "what": one.what, "next_steps": list(one.next_steps)}


def _show(measured: list[Times], refused: list[LocalRefusal]) -> None:
    if measured:
        show_table(
            ("!Expert", ">First", ">Short", ">Medium", ">Long", ">At once", "?Device", "?>Memory"),
            (
                (
                    row.expert,
                    _seconds(row.first_s),
                    *(_seconds(row.by_length_s[kind]) for kind in ("short", "medium", "long")),
                    f"{row.at_once_per_s:,.1f}/s",
                    row.device or "cpu",
                    f"{row.memory_bytes / MIB:,.0f} MiB",
                )
                for row in measured
            ),
        )
        say("Short is 50 words, medium 300, long 800; first includes loading.", style="dim")
    for one in refused:
        say("; ".join((one.what, *one.next_steps)))


def _seconds(value: float) -> str:
    return f"{value * 1000:,.1f} ms" if value < 1 else f"{value:,.2f} s"
