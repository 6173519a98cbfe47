"""Turns an agent's text into the structure that its task wants, over the agent's own seat."""

from __future__ import annotations

from typing import Any

from crewai import Agent
from crewai.utilities.converter import Converter, ConverterError


class RoutedConverter(Converter):
    """CrewAI's converter; its own way to JSON would go to a provider directly, past the seat and its budget."""

    def to_json(self, current_attempt: int = 1) -> Any:
        """JSON text of the model, or a ConverterError as a value."""
        try:
            return self.to_pydantic(current_attempt).model_dump_json(indent=2)
        except ConverterError as error:
            return error

    async def ato_json(self, current_attempt: int = 1) -> Any:
        """`to_json`, without blocking the event loop."""
        try:
            return (await self.ato_pydantic(current_attempt)).model_dump_json(indent=2)
        except ConverterError as error:
            return error


def convert_by_seat(agent: Agent) -> None:
    """Let this agent's conversions be routed."""
    # CrewAI asks the agent for its converter; the class takes the same arguments as the method that it stands for.
    object.__setattr__(agent, "get_output_converter", RoutedConverter)
