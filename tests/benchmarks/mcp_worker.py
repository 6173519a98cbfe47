"""The MCP server with one more tool, which does nothing.

`python -m tests.benchmarks.mcp_worker` prints its address
and a token that is good for it."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from crew_moe.router import Router
from crew_moe.surface.binding import listening
from crew_moe.surface.operations import Operations
from crew_moe.surface.rates import RateLimit, Rates
from mcp_server.launch import run_http, url_of
from mcp_server.server import RouterServer
from tests.auth.issuing import authenticator, token

NOTHING = "nothing"


def main() -> None:
    with TemporaryDirectory() as keys, Router.from_config(state=":memory:") as router:
        rates = Rates.open(RateLimit(1_000_000_000, 60))
        server = RouterServer(Operations(router), authenticator=authenticator(Path(keys)), rates=rates)

        @server.tool(name=NOTHING, output_schema=None)
        async def nothing(text: str = "", task_type: str = "") -> str:  # noqa: ARG001 - takes what the other takes
            return ""

        with listening("127.0.0.1", 0, guarded=True) as listener:
            sys.stdout.write(f"{url_of(listener)} {token()}\n")
            sys.stdout.flush()
            run_http(server, listener)


if __name__ == "__main__":
    main()
