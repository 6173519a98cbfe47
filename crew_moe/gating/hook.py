"""The gate as a plain CrewAI hook, for crews that are not attached to a router.

    hook = crewai_hook(gatekeeper, expert_of=lambda llm: registry.by_id.get(llm.model), principal=principal)
    register_before_llm_call_hook(hook)
    register_after_llm_call_hook(hook.after)

A hook can stop a call but not choose another model, so that a downgrade stops it too. CrewAI lets a call pass when its
hook fails with anything but HookAborted; here everything that goes wrong becomes one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from crew_moe.domain.digest import MAX_KEY_BYTES, digest
from crew_moe.domain.expert import Expert, Tier
from crew_moe.domain.money import MAX_USD, to_usd
from crew_moe.domain.principal import Principal
from crew_moe.domain.verdict import GateContext
from crew_moe.errors import MissingExtra
from crew_moe.gating.gated import said
from crew_moe.gating.gatekeeper import Admission, Gatekeeper

SOURCE: Final = "crew_moe.gate"
ROUTED: Final = "crew_moe"  # the type of our own routed models, whose calls pass the gate where they are made
UNKNOWN: Final = "unknown"

ExpertOf = Callable[[Any], Expert | None]


def crewai_hook(
    gatekeeper: Gatekeeper,
    *,
    expert_of: ExpertOf,
    principal: Principal | None = None,
    wait_s: float = 0.0,
    max_output_tokens: int = 4096,
    key: str = "",
) -> CrewHook:
    """A `before_llm_call` hook that asks the gate; its `after` frees places when a call was answered.

    `expert_of` finds the catalogue's expert behind an LLM object; a model that it does not know counts as premium, at
    the highest price. Who asks is `principal`, never what stands in a prompt. A held call waits `wait_s` on its thread.
    `max_output_tokens` bounds the price where the model sets no limit. With a `key`, that of the log, questions to
    people outlive a restart. Raises MissingExtra without CrewAI.
    """
    try:
        from crewai.hooks import HookAborted
    except ImportError:
        missing = MissingExtra("crew", "crewai")
    else:
        secret = digest(key, size=MAX_KEY_BYTES) if key else os.urandom(MAX_KEY_BYTES)
        reader = _Reader(expert_of, principal, max_output_tokens, secret)
        return CrewHook(gatekeeper, reader, wait_s=wait_s, aborted=HookAborted)
    raise missing


class CrewHook:
    """Made by `crewai_hook`. Places that a failed call left behind are freed by the next call of the same context."""

    def __init__(
        self, gatekeeper: Gatekeeper, reader: _Reader, *, wait_s: float, aborted: Callable[[str, str], Exception]
    ) -> None:
        self._gatekeeper = gatekeeper
        self._reader = reader
        self._wait_s = wait_s
        self._aborted = aborted
        self._inside: ContextVar[Admission | None] = ContextVar("crew_moe_admission", default=None)

    def __call__(self, call: Any) -> None:
        """Raises HookAborted unless the gate lets the call pass."""
        self.after(call)
        if getattr(call.llm, "llm_type", None) == ROUTED:
            return
        # Raised out here: CrewAI reads the words of a context error for signs that a call is worth repeating.
        reason = self._refusal(call)
        if reason:
            raise self._aborted(reason, SOURCE)

    def after(self, call: Any) -> None:
        """The call that this context made last is over."""
        del call
        admission = self._inside.get()
        if admission is not None:
            self._inside.set(None)
            self._gatekeeper.leave(admission, made=True)

    def _refusal(self, call: Any) -> str:
        """Why the call must not be made; empty if it may."""
        keeper = self._gatekeeper
        try:
            context = self._reader.read(call, keeper.clock.now())
            until = context.now + timedelta(seconds=self._wait_s)
            admission = keeper.admit_within(context, until=until) if self._wait_s > 0 else keeper.admit_at_once(context)
        except Exception as error:  # noqa: BLE001 - CrewAI lets the call pass on any other exception
            return f"the gate failed with {type(error).__name__}"
        if admission.allowed:
            self._inside.set(admission)
            return ""
        return f"{context.expert_id}: {said(admission.verdict)}"


class _Reader:
    """Makes what the gate is asked out of what CrewAI tells its hooks."""

    def __init__(self, expert_of: ExpertOf, principal: Principal | None, max_output_tokens: int, key: bytes) -> None:
        self._expert_of = expert_of
        self._principal = principal
        self._max_output_tokens = max_output_tokens
        self._key = key

    def read(self, call: Any, now: datetime) -> GateContext:
        text = _text_of(call.messages)
        expert = self._expert_of(call.llm)
        who = self._principal or Principal(subject="")
        task = call.task
        return GateContext(
            expert_id=expert.expert_id if expert else str(getattr(call.llm, "model", "") or UNKNOWN),
            provider=expert.provider if expert else UNKNOWN,
            tier=expert.tier if expert else Tier.PREMIUM,
            digest=digest(text, key=self._key).hex(),
            max_cost_usd=self._worst(expert, call.llm, text),
            now=now,
            task=None if task is None else task.name,
            tenant=who.tenant,
            user=who.subject or None,
            roles=who.roles,
            workspace=who.workspace,
            channel=who.channel,
        )

    def _worst(self, expert: Expert | None, llm: Any, text: str) -> Decimal:
        """The most that the call may cost: no tokenizer finds more tokens than there are bytes."""
        if expert is None:
            return MAX_USD
        limit = getattr(llm, "max_tokens", None) or self._max_output_tokens
        sent = len(text.encode("utf-8", "replace"))
        return to_usd(expert.worst_nano(sent, min(int(limit), expert.max_output_tokens)))


def _text_of(messages: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps(list(messages), ensure_ascii=False, sort_keys=True, default=str)
