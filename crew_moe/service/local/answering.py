"""One text of a caller, answered by the local gate, or by the fallback that its plan names (seed 003)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from crew_moe.auth.caller import Caller
from crew_moe.domain.decision import Infeasible
from crew_moe.domain.local_work import LocalRefusal, LocalTask, Processed
from crew_moe.domain.request import RoutingRequest
from crew_moe.errors import CrewMoEError, UnknownExpert
from crew_moe.local_gate.serving import LocalGate
from crew_moe.ports import Watcher
from crew_moe.router import Router
from crew_moe.service.local.bodies import ProcessRequest, processed_row
from crew_moe.service.local.counting import Counting
from crew_moe.service.local.troubles import fault_of_refusal
from crew_moe.service.openai_api.notes import NOTICE
from crew_moe.surface.fault import Fault


class Answering:
    """Asks the gate. Where it has an outage, the fallback answers through the router: screened, gated, paid for."""

    def __init__(self, engine: LocalGate, router: Router, watcher: Watcher) -> None:
        self._engine = engine
        self._router = router
        self._counting = Counting(watcher, router.clock)

    def check(self, request: ProcessRequest) -> None:
        """Raise UnknownExpert for an expert that is not hosted."""
        name, hosts = request.asked(None).expert, self._engine.plan.hosts
        if name is not None and name not in hosts:
            raise UnknownExpert(name, sorted(hosts), where="expert")

    async def whole(self, request: ProcessRequest, caller: Caller) -> dict[str, Any] | Fault:
        """A ProcessedView, or why there is none."""
        return await self._told(await self._engine.process(request.asked(caller.tenant)), request, caller)

    async def in_pieces(
        self, request: ProcessRequest, caller: Caller, heard: Callable[[int], None]
    ) -> dict[str, Any] | Fault:
        """As `whole`; `heard` is told of each piece how many characters it has."""
        if request.task is LocalTask.EMBED:
            return await self.whole(request, caller)
        async with aclosing(self._engine.stream(request.asked(caller.tenant))) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    heard(len(piece))
                    continue
                return await self._told(piece, request, caller)
        return Fault(code="unavailable", status=503, what="the answer had no end")

    async def _told(
        self, found: Processed | LocalRefusal, request: ProcessRequest, caller: Caller
    ) -> dict[str, Any] | Fault:
        self._counting.saw(found, caller.tenant)
        if isinstance(found, Processed):
            return processed_row(found)
        fault = fault_of_refusal(found)
        fallback = self._engine.plan.fallback
        if fallback is None or not (request.fallback and found.trouble.is_outage and request.task is LocalTask.PROCESS):
            return fault
        return await self._instead(fallback, request, caller, fault)

    async def _instead(
        self, fallback: str, request: ProcessRequest, caller: Caller, fault: Fault
    ) -> dict[str, Any] | Fault:
        """The fallback's answer, with the seed's notice; where it has none either, the first fault and why."""
        wanted = RoutingRequest(pin=fallback, fallbacks=())
        messages = [{"role": "user", "content": request.text}]
        began = self._router.clock.monotonic()
        try:
            found = await self._router.acomplete(wanted, messages, principal=caller.acting)
        except CrewMoEError as error:
            return _both(fault, fallback, str(error))
        if isinstance(found, Infeasible):
            return _both(fault, fallback, found.message)
        done = Processed(
            result=found.text,
            expert_used=found.expert_id,
            confidence=1.0,
            processing_time_s=self._router.clock.monotonic() - began,
            finish_reason=found.finish_reason,
            input_tokens=found.usage.input_tokens,
            output_tokens=found.usage.output_tokens,
        )
        return processed_row(done, notice=NOTICE)


def _both(fault: Fault, fallback: str, why: str) -> Fault:
    return replace(fault, data={**fault.data, "fallback": f"{fallback}: {why}"})
