"""From an HTTP request to the answer that goes over the wire."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import unquote

from crew_moe.domain.chat import ChatReply
from crew_moe.domain.expert import Expert
from crew_moe.domain.registry import Registry
from crew_moe.errors import closest
from crew_moe.ports import Clock
from crew_moe.sim import bodies, chat
from crew_moe.sim.answer import Answer, plain, reset, retry_headers, streamed, struck
from crew_moe.sim.chat import Body, Refusal
from crew_moe.sim.limiter import Limiter
from crew_moe.sim.script import Rule, Script, subjects
from crew_moe.sim.switchboard import SimRequest, Switchboard
from crew_moe.sim.wire import HttpRequest

CHAT: Final = "/v1/chat/completions"
MODELS: Final = "/v1/models"
CREDENTIALS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "api-key", "x-api-key"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A chat request that has reached its expert."""

    body: Body
    expert: Expert
    headers: Mapping[str, str]


@dataclass(slots=True)
class Exchange:
    """Answers for all experts, or for those of one provider."""

    registry: Registry
    script: Script
    clock: Clock
    switchboard: Switchboard
    _started: float = field(init=False)
    _limiter: Limiter = field(init=False)

    def __post_init__(self) -> None:
        self._started = self.clock.monotonic()
        self._limiter = Limiter(self.script.rate_limits())

    def receive(self, request: HttpRequest, provider: str | None) -> Answer | Call:
        """The answer to everything but a chat request that finds its expert, which `answer` takes."""
        if request.path == CHAT:
            return self._chat(request, provider) if request.method == "POST" else _failed(405)
        if request.path == MODELS or request.path.startswith(f"{MODELS}/"):
            return self._models(request, provider) if request.method == "GET" else _failed(405)
        return _failed(404, f"Invalid URL ({request.method} {request.path})", code="unknown_url")

    def answer(self, call: Call) -> Answer:
        """What becomes of a chat request: dead, one too many, struck by a rule, refused or answered.

        It may compute for 100 ms.
        """
        if self.switchboard.is_dead(call.expert):
            self._record(call, number=0, fault="dead")
            return reset()
        calls = self.switchboard.count(call.expert)
        rule = self.script.rule_for(calls, self.clock.monotonic() - self._started)
        fault = None if rule is None or rule.error is None else str(rule.error)
        number = calls[f"expert:{call.expert.expert_id}"]
        delay_s = self.script.delay_s(call.expert, rule)
        wait_s = self._refused_for(call, delay_s)
        self._record(call, number=number, fault=fault if wait_s is None else "429")
        answer = self._played_out(call, number, delay_s, rule) if wait_s is None else _too_many(wait_s)
        return replace(answer, headers=answer.headers + self._limiter.headers(call.expert, self.clock.now()))

    def _refused_for(self, call: Call, delay_s: float) -> float | None:
        """Seconds for which the expert takes no more calls; None: it takes this one."""
        body, expert = call.body, call.expert
        return self._limiter.refuses(
            expert,
            self.clock.now(),
            input_tokens=chat.sent_tokens(body),
            output_tokens=chat.output_limit(body) or expert.max_output_tokens,
            time_s=delay_s,
        )

    def _played_out(self, call: Call, number: int, delay_s: float, rule: Rule | None) -> Answer:
        if rule is not None and not rule.speaks:
            return struck(plain(b"", delay_s=delay_s), rule)
        whole = self._whole(call, number, delay_s, rule)
        return whole if rule is None else struck(whole, rule)

    def _whole(self, call: Call, number: int, delay_s: float, rule: Rule | None) -> Answer:
        refused = chat.refusal(call.body, call.expert)
        if refused is not None:
            return _refused(refused)
        # A queued answer waits for a call that gets it whole.
        arrives = rule is None or rule.error in (None, "slow_drip")
        queued = self.switchboard.dequeue(call.expert.expert_id) if arrives else None
        reply = _cached(chat.compose(call.body, call.expert, queued), rule)
        now = self.clock.now()
        if call.body.get("stream"):
            events = bodies.events(reply, now, number, include_usage=chat.wants_usage(call.body))
            return streamed(events, delay_s=delay_s)
        return plain(bodies.completion(reply, now, number), delay_s=delay_s)

    def _chat(self, request: HttpRequest, provider: str | None) -> Answer | Call:
        body = chat.parse(request.body)
        if isinstance(body, Refusal):
            return _refused(body)
        expert = self._expert(body["model"], provider)
        if expert is None:
            return self._unknown(body["model"], provider)
        return Call(body=body, expert=expert, headers=request.headers)

    def _models(self, request: HttpRequest, provider: str | None) -> Answer:
        name = unquote(request.path.removeprefix(MODELS).strip("/"))
        if not name:
            return plain(bodies.models(self._played(provider)))
        expert = self._expert(name, provider)
        return plain(bodies.model(expert)) if expert is not None else self._unknown(name, provider)

    def _played(self, provider: str | None) -> list[Expert]:
        return [expert for expert in self.registry if provider in (None, expert.provider)]

    def _expert(self, model: str, provider: str | None) -> Expert | None:
        """By expert id, else by the provider's own name of the model."""
        played = self._played(provider)
        by_id = [expert for expert in played if expert.expert_id == model]
        return next(iter(by_id or [expert for expert in played if expert.provider_model == model]), None)

    def _unknown(self, model: str, provider: str | None) -> Answer:
        near = closest(model, [expert.expert_id for expert in self._played(provider)])
        hint = f" Did you mean '{near}'?" if near else ""
        return _failed(404, f"The model '{model}' does not exist or you do not have access to it.{hint}", param="model")

    def _record(self, call: Call, *, number: int, fault: str | None) -> None:
        expert = call.expert
        self.switchboard.record(
            SimRequest(
                expert_id=expert.expert_id,
                provider=expert.provider,
                model=call.body["model"],
                messages=call.body["messages"],
                body=call.body,
                headers={name: value for name, value in call.headers.items() if name not in CREDENTIALS},
                at=self.clock.now(),
                number=number,
                fault=fault,
            )
        )


def serving(call: Call) -> frozenset[str]:
    """Whose death tears this call's connection down."""
    return frozenset(subjects(call.expert))


def _cached(reply: ChatReply, rule: Rule | None) -> ChatReply:
    """The reply, with as much of its input from a cache as the rule says."""
    if rule is None or not rule.cached_share:
        return reply
    cached = int(reply.usage.input_tokens * rule.cached_share)
    return replace(reply, usage=replace(reply.usage, cached_tokens=cached))


def _too_many(wait_s: float) -> Answer:
    return replace(_failed(429), headers=retry_headers(math.ceil(wait_s * 1000) / 1000))


def _refused(refused: Refusal) -> Answer:
    return _failed(400, refused.message, code=refused.code, param=refused.param)


def _failed(status: int, message: str = "", **fields: Any) -> Answer:
    return plain(bodies.error(status, message, **fields), status=status)
