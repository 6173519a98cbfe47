"""Whatever a client sends, a tool answers in its schema or with an error that is ours."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crew_moe.auth.caller import LOCAL, Caller
from crew_moe.domain.principal import Principal
from crew_moe.errors import CrewMoEError
from crew_moe.router import Router
from crew_moe.surface.fault import fault_of
from crew_moe.surface.operations import Operations
from mcp_server.call import Call
from mcp_server.schema import output_schema
from mcp_server.tools import TOOLS, ToolRow

ACME = Caller(principal=Principal(subject="client-7", tenant="acme"), scopes=LOCAL.scopes)
TELLING = [
    "planning",
    "premium",
    "gpt-4o",
    "tools",
    "tenant:acme",
    "d-1",
    "high",
    "",
    "..%2f",
    "\x00",
    "strategy: score",
]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**70), st.floats(), st.text(max_size=20), st.sampled_from(TELLING)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def _arguments(row: ToolRow) -> st.SearchStrategy[dict[str, Any]]:
    known = st.sampled_from(sorted(row.takes.model_fields))
    return st.dictionaries(known, VALUES, max_size=4) | st.dictionaries(known | st.text(max_size=8), VALUES, max_size=3)


@pytest.mark.parametrize("row", TOOLS, ids=lambda row: row.name)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_tool_answers_or_says_what_is_wrong(row: ToolRow, router: Router, data: st.DataObject) -> None:
    arguments = data.draw(_arguments(row))
    call = Call(operations=Operations(router), caller=data.draw(st.sampled_from([LOCAL, ACME])))
    try:
        answer = row.run(call, row.takes(**arguments))
    except CrewMoEError as error:
        fault = fault_of(error)
        assert fault.code != "failed"
        assert str(fault).startswith(f"{fault.code}: ")
    else:
        jsonschema.validate(answer.model_dump(mode="json"), output_schema(row.gives))
