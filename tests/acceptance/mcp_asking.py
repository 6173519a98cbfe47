"""A model that asks the router over its tools, and then repeats what it was told."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from crewai import Agent, Crew, Task
from crewai.llms.base_llm import BaseLLM

ASKED: Final = {"task_type": "planning", "text": "Plan the move of a warehouse."}
TOLD: Final = re.compile(r"""decision_id.*?expert_id\W+([\w./-]+)""", re.DOTALL)


class Asking(BaseLLM):
    """Calls the tool whose name ends in suggest_route; its final answer is the expert that it was told."""

    def call(self, messages: Any, *_: Any, **__: Any) -> str:
        said = str(messages)
        told = TOLD.search(said)
        if told is not None:
            return f"Thought: I know it now.\nFinal Answer: {told[1]}"
        names = re.findall(r"\w*suggest_route\b", said)
        return f"Thought: I ask.\nAction: {(*names, 'none')[0]}\nAction Input: {json.dumps(ASKED)}"

    async def acall(self, messages: Any, *_: Any, **__: Any) -> str:
        return self.call(messages)


def answer(**tools: Any) -> str:
    """What a crew of one agent with these tools says."""
    agent = Agent(role="Planner", goal="Plan", backstory="Years", llm=Asking(model="asking"), **tools)
    task = Task(description="Which expert should it be?", expected_output="An id", agent=agent)
    output: Any = Crew(agents=[agent], tasks=[task]).kickoff()
    return str(output.raw)
