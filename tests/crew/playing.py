"""Running crews in tests."""

from __future__ import annotations

from typing import Any

from crewai import Crew, CrewOutput

from crew_moe.crew import CrewReport
from crew_moe.domain.usage import Usage
from crew_moe.sim import Simulation


def run(crew: Crew, **inputs: Any) -> CrewOutput:
    """Kick a crew off that does not stream."""
    output = crew.kickoff(inputs=inputs or None)
    assert isinstance(output, CrewOutput)
    return output


def tokens(output: CrewOutput) -> tuple[int, int]:
    """Input and output tokens as CrewAI counts them."""
    return output.token_usage.prompt_tokens, output.token_usage.completion_tokens


def charged(report: CrewReport) -> tuple[int, int]:
    """Input and output tokens of all rows, which stand on what the providers said."""
    tasks = [(row.input_tokens, row.output_tokens) for row in report.tasks]
    seats = [(row.input_tokens, row.output_tokens) for row in report.seats]
    return sum(read for read, _ in tasks + seats), sum(written for _, written in tasks + seats)


def queue(sim: Simulation, expert_id: str, count: int) -> tuple[int, int]:
    """Queue answers of known sizes; the tokens that they are charged with in all."""
    sizes = [(100 + 7 * index, 10 + 3 * index) for index in range(count)]
    for index, (read, written) in enumerate(sizes):
        sim.reply_with(expert_id, f"Answer {index}", usage=Usage(input_tokens=read, output_tokens=written))
    return sum(read for read, _ in sizes), sum(written for _, written in sizes)
