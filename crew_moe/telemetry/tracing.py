"""Traces of requests, decisions and calls, where OpenTelemetry is installed and set up; else nothing at all.

The names are those of the semantic conventions, for generative AI where they have some; what is ours begins with
`crew_moe.`. No span holds a prompt or an answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from crew_moe.domain.chat import ChatReply, ChatRequest
from crew_moe.domain.decision import Decision
from crew_moe.domain.expert import Expert
from crew_moe.domain.happening import BatchDecided, Decided, Happening, Noted
from crew_moe.errors import MissingExtra
from crew_moe.settings import Traces, traces_wanted

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OtelSpan

NAME: Final = "crew_moe"
NS_PER_MS: Final = 1_000_000
PROVIDERS: Final[Mapping[str, str]] = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""Names of providers where the conventions have others than the catalogue."""
SHOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "call_held": ("decision_id", "to_expert"),
    "circuit_open": ("key",),
    "expert_switched": ("decision_id", "from_expert", "to_expert", "error"),
    "gate_verdict": ("decision_id", "expert_id", "ruling", "check"),
}
"""Events of the log that stand in the span in which they happened, and their fields."""


class RequestSpan(Protocol):
    """One request as it is traced."""

    def answered(self, status: int, route: str = "") -> None:
        """Its answer has gone; `route` is the template of the path that answered."""


class Untraced:
    """Implements RequestSpan where nothing is traced."""

    def answered(self, status: int, route: str = "") -> None:
        """Nobody wants to know."""


class Tracing:
    """Implements ports.Watcher. Without a provider it does nothing, and says so by `on`."""

    def __init__(self, provider: TracerProvider | None, *, ours: bool = False) -> None:
        """`ours`: a provider that nobody else ends."""
        self._provider = provider if ours else None
        self._tracer = None if provider is None else provider.get_tracer(NAME)

    @classmethod
    def open(cls) -> Self:
        """As the environment says, by OpenTelemetry's own names: an OTLP endpoint, or the provider that the program has
        set up. Raises MissingExtra where an endpoint is named and the `otel` extra is not installed.
        """
        wanted = traces_wanted()
        if wanted is Traces.OFF:
            return cls(None)
        if wanted is Traces.EXPORTED:
            return cls(_exporting(), ours=True)
        return cls(_of_the_program())

    @property
    def on(self) -> bool:
        return self._tracer is not None

    @contextmanager
    def request(self, path: str, method: str, headers: Mapping[str, str]) -> Iterator[RequestSpan]:  # noqa: ARG002 - as Tracing has it
        """The span of one HTTP request, which goes on with the caller's trace. `headers` by lower-case names; the path
        is not shown, for it may hold whatever somebody asks for.
        """
        if self._tracer is None:
            yield Untraced()
            return
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        caller = TraceContextTextMapPropagator().extract(dict(headers))
        told = {"http.request.method": method}
        with self._tracer.start_as_current_span(method, context=caller, kind=SpanKind.SERVER, attributes=told) as span:
            yield _Request(span, method)

    def call(self, expert: Expert, request: ChatRequest) -> CallSpan | None:
        """The span of one call of an expert, which begins now; None where nothing is traced."""
        if self._tracer is None:
            return None
        from opentelemetry.trace import SpanKind

        model = expert.provider_model
        told = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": PROVIDERS.get(expert.provider, expert.provider),
            "gen_ai.request.model": model,
            "gen_ai.request.max_tokens": request.max_output_tokens,
            "gen_ai.request.temperature": request.temperature,
            "gen_ai.request.seed": request.seed,
            "crew_moe.expert_id": expert.expert_id,
        }
        return CallSpan(self._tracer.start_span(f"chat {model}", kind=SpanKind.CLIENT, attributes=_given(told)))

    def saw(self, happening: Happening) -> None:
        """Decisions are spans of their own, written when they are over; events stand in the span they happened in."""
        if self._tracer is None:
            return
        match happening:
            case Decided(answer=answer, took_ms=took_ms):
                told = {
                    "crew_moe.decision_id": answer.decision_id,
                    "crew_moe.strategy": answer.strategy,
                    "crew_moe.task_type": answer.features.task_type.value,
                    "crew_moe.expert_id": answer.expert_id if isinstance(answer, Decision) else None,
                    "crew_moe.score": answer.score if isinstance(answer, Decision) else None,
                    "crew_moe.binding": None if isinstance(answer, Decision) else answer.binding,
                }
                self._wrote("decide", told, took_ms)
            case BatchDecided(batch_id=batch_id, requests=requests, took_ms=took_ms):
                told = {"crew_moe.batch_id": batch_id, "crew_moe.decisions": len(requests)}
                self._wrote("decide_batch", told, took_ms)
            case Noted(event=event, fields=fields) if event in SHOWN:
                _current().add_event(event, {name: str(fields[name]) for name in SHOWN[event] if name in fields})

    def close(self) -> None:
        """Send what is left, if the provider is ours; idempotent."""
        provider, self._provider = self._provider, None
        if provider is not None:
            provider.shutdown()

    def _wrote(self, name: str, told: Mapping[str, Any], took_ms: float) -> None:
        ended = time.time_ns()
        began = ended - int(took_ms * NS_PER_MS)
        if self._tracer is not None:
            self._tracer.start_span(name, attributes=_given(told), start_time=began).end(ended)


class _Request:
    def __init__(self, span: OtelSpan, method: str) -> None:
        self._span = span
        self._method = method

    def answered(self, status: int, route: str = "") -> None:
        self._span.set_attribute("http.response.status_code", status)
        if route:
            self._span.update_name(f"{self._method} {route}")
            self._span.set_attribute("http.route", route)
        if status >= 500:
            _fail(self._span, str(status))


class CallSpan:
    """One call of one expert. It ends once: answered, failed, or left by whoever waited."""

    def __init__(self, span: OtelSpan) -> None:
        self._span = span

    @property
    def headers(self) -> Mapping[str, str]:
        """What the provider is told of the trace (W3C traceparent)."""
        from opentelemetry.trace import set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, set_span_in_context(self._span))
        return carrier

    def answered(self, reply: ChatReply) -> None:
        usage = reply.usage
        told = {
            "gen_ai.response.model": reply.model or None,
            "gen_ai.response.finish_reasons": [reply.finish_reason],
            "gen_ai.usage.input_tokens": usage.input_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens or None,
            "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens or None,
        }
        self._span.set_attributes(_given(told))
        self._span.end()

    def failed(self, error: str, status: int | None = None) -> None:
        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
        _fail(self._span, error)
        self._span.end()


def _fail(span: OtelSpan, error: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", error)
    span.set_status(Status(StatusCode.ERROR))


def _given(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if value is not None}


def _current() -> OtelSpan:
    from opentelemetry.trace import get_current_span

    return get_current_span()


def _exporting() -> TracerProvider:
    """A provider of our own that sends to the endpoint that the environment names."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as missing:
        raise MissingExtra("otel", "opentelemetry") from missing
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "crew-moe"}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _of_the_program() -> TracerProvider | None:
    """The provider that the program has set up; None where it has not, or can't have."""
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace import get_tracer_provider
    except ImportError:
        return None
    provider = get_tracer_provider()
    return provider if isinstance(provider, TracerProvider) else None
