"""/services and /load/rebalance: services that register themselves as experts."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool

from crew_moe.auth.caller import AccessScope
from crew_moe.domain.request import Name
from crew_moe.domain.service import Registration
from crew_moe.service.access import GuardedRoute, caller_of, needs
from crew_moe.service.bodies import parsed, read_model
from crew_moe.service.documents import document
from crew_moe.service.examples import SERVICES
from crew_moe.surface.operations import Operations
