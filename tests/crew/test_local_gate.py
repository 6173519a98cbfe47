"""A crew whose texts may not leave: its tasks run on the local gate, and no socket is opened."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from crewai import Crew
from crewai.tools import tool
from crewai.types.streaming import CrewStreamingOutput
from pydantic import BaseModel

from crew_moe.crew import attach, report
from crew_moe.crew.refusals import TaskFailed
from crew_moe.router import Router
from tests.catalog.writing import folder as config_folder
from tests.crew.guarded import Make
from tests.crew.playing import run

LOCAL_ONLY: Final = "tasks: {only: {data: {pii: local_only}}}"
TEXT: Final = "Summarise the report.\n\nThe pump of ann.lee@example.org failed at noon. The door is red. It was old."


class Summary(BaseModel):
    summary: str


@tool("read")
def read(page: str) -> str:
    """Reads a page."""
    return f"page {page}"


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """No socket reaches anything; what was tried."""
    tried: list[Any] = []

    def refuse(*given: Any, **_: Any) -> Any:
        tried.append(given[1:])
        raise OSError("sockets are blocked here")

    for name in ("connect", "connect_ex", "sendto", "sendmsg"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tried


@pytest.fixture
def here() -> Iterator[Router]:
    """A router that would ask real providers."""
    with Router.from_config(state=":memory:") as made:
        yield made


@pytest.mark.parametrize("streams", [False, True])
def test_a_task_that_may_not_leave_runs_on_the_local_gate(
    agent: Make, task: Make, routing: Make, here: Router, sealed: list[Any], streams: bool
) -> None:
    member = agent()
    crew = Crew(agents=[member], tasks=[task("only", member, description=TEXT)], stream=streams)

    found = attach(crew, routing(LOCAL_ONLY), router=here).kickoff()
    said = [str(chunk) for chunk in found] if isinstance(found, CrewStreamingOutput) else [found.raw]

    assert "pump" in "".join(said)
    (row,) = report(crew).tasks
    assert (row.expert_id, len(row.attempts), row.cost_usd) == ("local/auto", 1, Decimal(0))
    assert sealed == []


@pytest.mark.parametrize("fields", [{"tools": [read]}, {}], ids=["tools", "structured"])
def test_tools_and_structured_answers_are_had_there_too(
    agent: Make, task: Make, routing: Make, here: Router, sealed: list[Any], fields: dict[str, Any]
) -> None:
    member = agent(**fields)
    shape = {} if fields else {"output_pydantic": Summary}
    crew = Crew(agents=[member], tasks=[task("only", member, description=TEXT, **shape)])

    output = run(attach(crew, routing(LOCAL_ONLY), router=here))

    assert output.raw
    assert fields or isinstance(output.pydantic, Summary)
    assert report(crew).tasks[0].expert_id == "local/auto"
    assert sealed == []


def test_a_task_may_name_a_hosted_model_of_one_s_own(
    agent: Make, task: Make, routing: Make, tmp_path: Path, sealed: list[Any]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("transformers", reason="transformers is not installed")
    from tests.local_gate.hosts.tiny_models import byt5

    hosted = {"experts": {"byt5": {"kind": "byt5", "path": str(byt5(tmp_path / "tiny")), "max_output_tokens": 8}}}
    (tmp_path / "config").mkdir()
    member = agent()
    crew = Crew(agents=[member], tasks=[task("only", member, description=TEXT)])
    with Router.from_config(config_folder(tmp_path / "config", local=hosted), state=":memory:") as router:
        attach(crew, routing("tasks: {only: {pin: local/byt5, data: {pii: local_only}}}"), router=router)
        assert run(crew).raw

    assert report(crew).tasks[0].expert_id == "local/byt5"
    assert sealed == []


def test_where_the_local_gate_can_t_serve_nobody_else_does(
    agent: Make, task: Make, routing: Make, here: Router, sealed: list[Any]
) -> None:
    member = agent()
    crew = Crew(agents=[member], tasks=[task("only", member, description=TEXT)])
    path = routing("tasks: {only: {pin: local/byt5, fallbacks: [], data: {pii: local_only}}}")

    with pytest.raises(TaskFailed):
        run(attach(crew, path, router=here))

    (attempt,) = report(crew).tasks[0].attempts
    assert "crew-moe local train-demo" in attempt.detail
    assert sealed == []
