"""Screening on the way of a call: what the policy does about personal data, injection and toxicity in its messages.

Everything that enters the prompt is looked at, tool outputs and task context too, each text once. Personal data is
looked for in all messages; the rest in what comes from outside, which neither the developer's system prompt nor the
model's own words do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

from crew_moe.domain.access import Demands
from crew_moe.domain.chat import ChatReply, ChatRequest
from crew_moe.domain.digest import MAX_KEY_BYTES, digest
from crew_moe.domain.request import MAX_TEXT_CHARS
from crew_moe.domain.screening import Action, Concern, DetectorChoice, Finding, ScreeningPolicy, Span
from crew_moe.errors import ScreeningFailed
from crew_moe.execution.conversation import text_of
from crew_moe.execution.screened import Screened, Stop
from crew_moe.ports import Detector, EventSink
from crew_moe.screening.foreign import ForeignLanguage
from crew_moe.screening.messages import texts_of
from crew_moe.screening.redaction import Vault, in_json, redact_messages
from crew_moe.screening.screener import Report, Screener

# What a request's own rule for personal data means; `local_only` binds a request whatever its text holds.
_PII_RULES: Final[Mapping[str, Action]] = {"redact": Action.REDACT, "deny": Action.DENY}
_INSIDE: Final = frozenset({"system", "developer"})
_OBSERVATION: Final = "\nObservation:"
"""From here on an assistant's message is a tool's output: so CrewAI tells it to models that take no tools."""


class Safety:
    """Screens chats by a policy. Detectors are made when they are first needed; safe for threads."""

    def __init__(self, policy: ScreeningPolicy, *, sink: EventSink) -> None:
        self._policy = policy
        self._sink = sink

    def screen(self, chat: ChatRequest, *, pii: str, vault: Vault | None = None) -> Screened:
        """What may be sent of `chat`, and to whom. A detector that fails stops the call."""
        actions = self._actions(pii)
        wanted = [concern for concern, action in actions.items() if action is not Action.SKIP]
        if not wanted:
            return Screened(chat=chat)
        if _longer_than(MAX_TEXT_CHARS, chat.messages):
            told = f"the messages have more than {MAX_TEXT_CHARS:,} characters, which nobody screens"
            return Screened(chat=chat, stop=Stop(concern=wanted[0], reason=told))
        try:
            reports = {concern: self._report(concern, chat.messages) for concern in wanted}
        except ScreeningFailed as error:
            self._sink.emit("screening_failed", error=str(error))
            return Screened(chat=chat, stop=Stop(concern=Concern(error.concern), reason=str(error)))
        flagged = [concern for concern, report in reports.items() if report.flagged]
        screened = Screened(chat=chat, scores={concern: report.worst_score for concern, report in reports.items()})
        for concern in flagged:
            self._tell(concern, actions[concern], reports[concern])
            screened = _CONSEQUENCES[actions[concern]](screened, concern)
            if actions[concern] is Action.HOLD:
                screened = replace(screened, hold=screened.hold | self._flagged(concern, chat.messages))
        if actions[Concern.PII] is Action.REDACT and Concern.PII in flagged and screened.stop is None:
            return self._redacted(screened, Vault() if vault is None else vault)
        return screened

    def looks(self, pii: str) -> bool:
        """Whether a chat under this rule is looked at: that takes its time, by the chat's length."""
        return any(action is not Action.SKIP for action in self._actions(pii).values())

    def _actions(self, pii: str) -> dict[Concern, Action]:
        """What is done about each concern; `pii` is the request's own rule."""
        actions = {concern: self._policy.action(concern) for concern in Concern}
        actions[Concern.PII] = _PII_RULES.get(pii, actions[Concern.PII])
        return actions

    def _report(self, concern: Concern, messages: Sequence[Mapping[str, Any]]) -> Report:
        report = Report.joined(self._screeners[concern].screen_messages(_seen(concern, messages)))
        return self._counted(report) if concern is Concern.PII else report

    def _flagged(self, concern: Concern, messages: Sequence[Mapping[str, Any]]) -> frozenset[str]:
        """Names of the messages that were flagged."""
        seen = _seen(concern, messages)
        return frozenset(_name(message) for message in seen if self._report(concern, (message,)).flagged)

    def _counted(self, report: Report) -> Report:
        """The report without kinds of personal data that the policy leaves alone."""
        return Report(findings=tuple(map(self._of_counted_kinds, report.findings)))

    def _of_counted_kinds(self, finding: Finding) -> Finding:
        spans = tuple(span for span in finding.spans if span.type in self._policy.pii_types)
        if len(spans) == len(finding.spans):
            return finding
        return replace(finding, spans=spans, score=max((span.score for span in spans), default=0.0))

    def _redacted(self, screened: Screened, vault: Vault) -> Screened:
        """The chat with placeholders, and the way back where the policy wants one."""
        messages = redact_messages(screened.chat.messages, vault, self._spans_of)
        chat = replace(screened.chat, messages=tuple(messages))
        redacted = replace(screened, chat=chat, redacted=len(vault))
        if not self._policy.restore:
            return redacted
        return replace(
            redacted,
            restore=partial(_restored, vault=vault),
            restorer=vault.restorer,
            call_restorer=partial(vault.restorer, escape=in_json),
        )

    def _spans_of(self, text: str) -> Iterable[Span]:
        (report,) = self._screeners[Concern.PII].screen((text,))
        counted = self._counted(report)
        return (span for finding in counted.findings if finding.flagged for span in finding.spans)

    def _tell(self, concern: Concern, action: Action, report: Report) -> None:
        versions = sorted({finding.version for finding in report.findings if finding.flagged})
        self._sink.emit(
            "text_flagged", concern=concern.value, action=action.value, score=report.worst_score, versions=versions
        )

    @property
    def cache(self) -> tuple[int, int]:
        """(texts that were given, those of them that had been seen before)"""
        screeners = self.__dict__.get("_screeners", {}).values()
        return sum(each.asked for each in screeners), sum(each.hits for each in screeners)

    @cached_property
    def _screeners(self) -> Mapping[Concern, Screener]:
        """One for each concern; only those that are asked load their detectors."""
        return {concern: Screener(self._detectors(concern), key=_KEY) for concern in Concern}

    def _detectors(self, concern: Concern) -> list[Detector]:
        if concern is Concern.LANGUAGE:
            return [ForeignLanguage(self._policy.languages)]
        return [_Lazy(concern, choice) for choice in self._policy.detectors.get(concern) or (DetectorChoice(),)]


class _Lazy:
    """Implements ports.Detector; the detector behind it is made when the first text comes."""

    def __init__(self, concern: Concern, choice: DetectorChoice) -> None:
        self.concern = concern
        self._choice = choice

    @cached_property
    def _detector(self) -> Detector:
        return _MAKERS[self._choice.kind](self.concern, self._choice)

    @property
    def version(self) -> str:
        return self._detector.version

    def assess(self, text: str) -> Finding:
        return self._detector.assess(text)


def _built_in(concern: Concern, _: DetectorChoice) -> Detector:
    if concern is Concern.PII:
        from crew_moe.screening.pii.detector import PiiDetector

        return PiiDetector()
    if concern is Concern.INJECTION:
        from crew_moe.screening.injection import InjectionDetector

        return InjectionDetector()
    from crew_moe.screening.toxicity import ToxicityDetector

    return ToxicityDetector()


def _presidio(_: Concern, __: DetectorChoice) -> Detector:
    from crew_moe.screening.presidio import PresidioDetector

    return PresidioDetector()


def _classifier(concern: Concern, choice: DetectorChoice) -> Detector:
    from crew_moe.screening.classifier import TransformersClassifier

    return TransformersClassifier(path=Path(choice.path or ""), concern=concern, bad=choice.bad_labels)


_MAKERS: Final[Mapping[str, Callable[[Concern, DetectorChoice], Detector]]] = {
    "built_in": _built_in,
    "presidio": _presidio,
    "classifier": _classifier,
}
_KEY: Final = os.urandom(MAX_KEY_BYTES)


def _seen(concern: Concern, messages: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """What a concern is looked for in: personal data everywhere, the rest in what comes from outside."""
    return messages if concern is Concern.PII else list(_from_outside(messages))


def _from_outside(messages: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for message in messages:
        if message.get("role") == "assistant":
            _, observed, output = text_of(message.get("content")).partition(_OBSERVATION)
            if observed:
                yield {"role": "tool", "content": output}
        elif message.get("role") not in _INSIDE:
            yield message


def _name(message: Mapping[str, Any]) -> str:
    """A name for exactly this message, from which nobody can guess its words."""
    return digest(json.dumps(message, sort_keys=True, default=str), key=_KEY).hex()


def _longer_than(limit: int, messages: Sequence[Mapping[str, Any]]) -> bool:
    return sum(len(text) for message in messages for text in texts_of(message)) > limit


def _as_it_is(screened: Screened, _: Concern) -> Screened:
    return screened


def _moderated(screened: Screened, _: Concern) -> Screened:
    return replace(screened, demands=screened.demands.joined(Demands(moderated=True)))


def _local_only(screened: Screened, _: Concern) -> Screened:
    return replace(screened, demands=screened.demands.joined(Demands(local_only=True)))


def _denied(screened: Screened, concern: Concern) -> Screened:
    return replace(
        screened, stop=Stop(concern=concern, reason=f"the text was flagged for {concern}, and may go nowhere")
    )


_CONSEQUENCES: Final[Mapping[Action, Callable[[Screened, Concern], Screened]]] = {
    Action.FLAG: _as_it_is,
    Action.REDACT: _as_it_is,
    Action.MODERATED: _moderated,
    Action.LOCAL_ONLY: _local_only,
    Action.HOLD: _as_it_is,
    Action.DENY: _denied,
}


def _restored(reply: ChatReply, *, vault: Vault) -> ChatReply:
    """The answer with the true values, in its text and in the arguments of its tool calls."""
    calls = tuple(_restored_call(call, vault) for call in reply.tool_calls)
    return replace(reply, text=vault.restore(reply.text), tool_calls=calls)


def _restored_call(call: Mapping[str, Any], vault: Vault) -> Mapping[str, Any]:
    function = call.get("function")
    if not isinstance(function, Mapping):
        return call
    arguments = vault.restore(str(function.get("arguments") or ""), escape=in_json)
    return {**call, "function": {**function, "arguments": arguments}}
