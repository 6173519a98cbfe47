"""`crew-moe local route`: which hosted expert the gate would choose for a text. No model is loaded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from crew_moe.cli.options import AsJson, Config, config_folder
from crew_moe.cli.output import say, show_pairs, show_table, write_json
from crew_moe.errors import ConfigError, InvalidInput

if TYPE_CHECKING:
    from crew_moe.local_gate.gate.choice import GateChoice

STDIN: Final = "-"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("route")(route)


def route(
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="What is asked.")] = None,
    file: Annotated[str | None, typer.Option("--file", metavar="FILE", help="Read it from a file; - is stdin.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show whom the gate would choose for a text if all experts could serve, how sure it is, and what it looked at.

    No model is loaded or asked.
    """
    from crew_moe.catalog.local import load_local
    from crew_moe.local_gate.gate.gate import Gate

    if (text is None) == (file is None):
        raise InvalidInput("give one of them", where="TEXT or --file")
    given = _read(file) if file is not None else text or ""
    if not given.strip():
        raise InvalidInput("there is no text in it", where=file or "TEXT")
    plan = load_local(config_folder(config))
    if not plan.hosts:
        raise ConfigError("no expert is hosted", file="local.yaml", key="experts")
    gate = Gate.open(plan.gate, plan.hosts)
    among = [name for name, host in plan.hosts.items() if len(given) <= host.max_input_chars]
    if not among:
        raise InvalidInput(f"{len(given):,} characters are more than any hosted expert takes", where=file or "TEXT")
    choice = gate.choose(gate.features(given), among)
    if as_json:
        write_json({**choice.as_dict(), "gate": gate.version})
    else:
        _show(choice, gate.version)


def _read(file: str) -> str:
    """A text of any length, as the gate may be given it."""
    try:
        raw = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", file=file) from None
    except OSError as error:
        raise ConfigError(f"can't be read ({error.strerror})", file=file) from None


def _show(choice: GateChoice, version: str) -> None:
    unsure = " (below min_confidence: the expert that the plan names)" if choice.unsure else ""
    say(f"{choice.expert}: confidence {choice.confidence:.3f}{unsure}", style="bold")
    show_table(("!Expert", ">Probability"), ((name, f"{choice.probabilities[name]:.3f}") for name in choice.ranked))
    say()
    show_pairs((name, f"{value:,.4g}") for name, value in choice.features.as_dict().items())
    say(f"\nGate: {version}")
