"""One row of the table as fastmcp runs it: arguments in, a typed answer or a fault out, never an exception.

What goes wrong is told in the answer and nowhere else: fastmcp would log the arguments, and show a traceback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import copy_context
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
from fastmcp.server.auth import require_scopes
from fastmcp.server.context import Context
from fastmcp.server.dependencies import get_context, get_http_request
from fastmcp.tools.base import Tool, ToolResult
from pydantic_core import to_json

from crew_moe.errors import CrewMoEError
from crew_moe.surface.fault import Fault, fault_of
from crew_moe.surface.operations import Operations
from mcp_server.answers import VERSION, Answer
from mcp_server.auth import current_caller
from mcp_server.call import Call, Tell
from mcp_server.cancelling import Running, stoppable
from mcp_server.schema import input_schema, output_schema
from mcp_server.tools import ToolRow

if TYPE_CHECKING:
    from crew_moe.crew.project import Project

_META: Final = {"schema_version": VERSION}
UNEXPECTED: Final = Fault(
    code="failed",
    status=500,
    what="something went wrong inside the router",
    next_step="try again; if it stays, ask whoever runs this router to look at its log",
)


class RoutedTool(Tool):
    """A tool over the operations. `guarded`: callers need the scope of its row."""

    row: Any
    operations: Any
    project: Any = None
    running: Any = None

    @classmethod
    def of(
        cls, row: ToolRow, operations: Operations, project: Project | None, running: Running, *, guarded: bool
    ) -> RoutedTool:
        effect = row.effect
        return cls(
            name=row.name,
            title=row.title,
            description=row.description,
            parameters=input_schema(row.takes, row.notes, row.hidden),
            output_schema=output_schema(row.gives),
            annotations={
                "readOnlyHint": effect.read_only,
                "destructiveHint": effect.destructive,
                "idempotentHint": effect.idempotent,
                "openWorldHint": effect.open_world,
            },
            auth=require_scopes(row.scope.value) if guarded else None,
            row=row,
            operations=operations,
            project=project,
            running=running,
        )

    def to_mcp_tool(self, **overrides: Any) -> Any:
        """As the list shows it, without what fastmcp adds about itself."""
        return super().to_mcp_tool(**{"_meta": None, **overrides})

    async def run(self, arguments: dict[str, Any]) -> ToolResult:
        """Answer one call. Cancelled, it tells the operation to stop and waits no longer for it."""
        call = Call(
            operations=self.operations,
            caller=current_caller(),
            project=self.project,
            tell=_teller(get_context()),
        )
        began, fault = perf_counter(), None
        try:
            return _result(await self._answer(call, arguments))
        except CrewMoEError as error:
            fault = fault_of(error)
        except Exception as error:  # noqa: BLE001 - the edge of the server: the client gets an answer whatever it was
            self._emit("tool_failed", tool=self.name, kind=type(error).__name__)
            fault = UNEXPECTED
        finally:
            took_ms = round((perf_counter() - began) * 1e3, 3)
            code = None if fault is None else fault.code
            self._emit("tool_called", tool=self.name, by=call.caller.subject, fault=code, took_ms=took_ms)
        return refusal(fault)

    async def _answer(self, call: Call, arguments: dict[str, Any]) -> Answer:
        row: ToolRow = self.row
        # Some clients send every field that they know of: null is what was left out.
        asked = row.takes(**{name: value for name, value in arguments.items() if value is not None})
        if row.swift:
            return row.run(call, asked)
        with self._stoppable(call):
            limiter = self.running.slow if row.slow else None
            return await anyio.to_thread.run_sync(row.run, call, asked, abandon_on_cancel=True, limiter=limiter)

    @contextmanager
    def _stoppable(self, call: Call) -> Iterator[None]:
        """Whatever ends the waiting stops the operation; over HTTP a word from its client does too."""
        with ExitStack() as stack:
            stack.callback(call.stopped.set)
            with suppress(RuntimeError):  # not over HTTP
                request, number = get_http_request(), get_context().request_id
                stack.enter_context(stoppable(self.running, request, number, call.stopped))
            yield

    def _emit(self, event: str, **fields: Any) -> None:
        self.operations.router.sink.emit(event, **fields)


def refusal(fault: Fault) -> ToolResult:
    """A fault as a tool answers it: the sentence for a model, the same in parts for a program."""
    return ToolResult(content=str(fault), meta={"error": fault.as_dict()}, is_error=True)


def _result(answer: Answer) -> ToolResult:
    """The answer in its schema, and as text for clients that know no schemas.

    It is of the schema by its making. mcp checks that once more, at fifty times the price of a decision, unless the
    answer comes with a meta of its own.
    """
    told = answer.model_dump(mode="json")
    return ToolResult(content=to_json(told).decode(), structured_content=told, meta=_META)


def _teller(context: Context) -> Tell:
    """Reports progress from whichever thread the operation works in, in the name of the present request."""
    loop, request = asyncio.get_running_loop(), copy_context()

    def tell(done: float, total: float | None, message: str) -> None:
        report = context.report_progress(progress=done, total=total, message=message)
        request.copy().run(asyncio.run_coroutine_threadsafe, report, loop)

    return tell
