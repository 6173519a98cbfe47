"""What fastmcp.json names: a server as the environment describes it, for fastmcp's own command line."""

from __future__ import annotations

import atexit

import structlog

from crew_moe.auth.authenticator import Authenticator
from crew_moe.router import Router
from crew_moe.settings import read_settings
from crew_moe.surface.operations import Operations
from crew_moe.telemetry.events import log_setup
from mcp_server.exposure import exposure_of
from mcp_server.logs import tame_libraries
from mcp_server.server import RouterServer


def create() -> RouterServer:
    """The server that the CREW_MOE_* variables ask for; read-only unless they say otherwise."""
    settings = read_settings()
    structlog.configure(**log_setup())
    tame_libraries()
    router = Router.from_config(settings.config, state=settings.state, live=settings.mcp_live)
    atexit.register(router.close)
    authenticator = Authenticator.from_settings(settings, clock=router.clock, sink=router.sink)
    return RouterServer(Operations(router), exposure_of(settings, router), authenticator=authenticator)
