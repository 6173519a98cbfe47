"""`crew-moe feedback`: say what an answer was worth; the next decisions hear of it."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from crew_moe.cli.options import AsJson, Config, State, durable, one_of, open_router
from crew_moe.cli.output import say, write_json
from crew_moe.errors import InvalidInput

OUTCOMES: Final = ("success", "partial", "failure")
WAYS: Final = ("--outcome", "--quality", "--rating", "--pr-merged", "--pr-reverted")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("feedback")(feedback)


def feedback(
    decision_id: Annotated[str, typer.Argument(metavar="DECISION_ID", help="The decision whose answer is judged.")],
    source: Annotated[str, typer.Option("--source", metavar="NAME", help="Who judges; each one is heard once.")],
    outcome: Annotated[
        str | None, typer.Option("--outcome", metavar="WORD", help="How it went: success, partial, failure.")
    ] = None,
    quality: Annotated[
        float | None, typer.Option("--quality", min=0.0, max=1.0, help="How good the answer was, from 0 to 1.")
    ] = None,
    rating: Annotated[int | None, typer.Option("--rating", min=1, max=5, help="In stars, from 1 to 5.")] = None,
    pr_merged: Annotated[bool, typer.Option("--pr-merged", help="The pull request was merged.")] = False,
    pr_reverted: Annotated[bool, typer.Option("--pr-reverted", help="The pull request was taken back.")] = False,
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Judge the answer that a decision led to. It counts as far as its source may move an expert."""
    from crew_moe.domain.outcome import Feedback

    one_of(outcome, OUTCOMES, "--outcome")
    told: dict[str, Any] = {
        "outcome": outcome,
        "quality": quality,
        "rating": rating,
        "pr_merged": pr_merged or None,
        "pr_reverted": pr_reverted or None,
    }
    if all(value is None for value in told.values()):
        raise InvalidInput("say what the answer was worth", where="feedback", allowed=WAYS)
    judged = Feedback(decision_id=decision_id, source=source, **told)
    with open_router(config, durable(state, "feedback")) as router:
        recorded = router.feedback(judged)
        row = router.log.get(f"{decision_id}/feedback/{source}") or {}
    if as_json:
        write_json({"recorded": recorded, "reward": row.get("reward"), "weight": row.get("weight")})
    elif recorded:
        say(f"Recorded: {_worth(row.get('reward'), row.get('weight', 0.0))}.")
    else:
        say(f"{source} has judged this decision before; nothing was changed.")


def _worth(reward: float | None, weight: float) -> str:
    """What it came to, in words."""
    if reward is None:
        return "the policy's reward counts nothing of it"
    whole = f"a reward of {reward:.2f}"
    if weight >= 1.0:
        return whole
    return f"{whole} that counts {weight:.2f} of a judgement, for its source has said much of this expert lately"
