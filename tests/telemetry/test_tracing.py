"""Spans as the real SDK records them and as an OTLP endpoint receives them."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from crew_moe import ExecutionFailed, Router, RoutingRequest
from crew_moe.errors import MissingExtra
from crew_moe.execution.traced import TracedClient
from crew_moe.sim import Simulation, simulate
from crew_moe.surface.telemetry import Telemetry
from crew_moe.telemetry.events import Recorder
from crew_moe.telemetry.tracing import Tracing

REQUEST = RoutingRequest(task_type="planning", text="a secret", pin="gpt-4o")
MODEL = "gpt-4o-2024-11-20"
CHAT = f"chat {MODEL}"
TRACE = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tracing]:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "false")
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traced = Tracing(provider, ours=True)
    yield traced
    traced.close()


@contextmanager
def routing(tracing: Tracing) -> Iterator[tuple[Router, Simulation]]:
    with (
        simulate() as sim,
        Router.from_config(state=":memory:", base_url=sim.base_url, sink=Recorder(), watchers=(tracing,)) as router,
    ):
        router.executor.client.reached_by(lambda client: TracedClient(client, tracing))
        yield router, sim


def named(exporter: InMemorySpanExporter, name: str) -> ReadableSpan:
    return next(span for span in exporter.get_finished_spans() if span.name == name)


def told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def test_request_goes_on_with_its_callers_trace(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with tracing.request("/api/v1/decisions/d-7", "GET", HEADERS) as span:
        span.answered(503, "/api/v1/decisions/{id}")
    (request,) = exporter.get_finished_spans()

    assert (request.name, request.kind, request.status.status_code) == (
        "GET /api/v1/decisions/{id}",
        SpanKind.SERVER,
        StatusCode.ERROR,
    )
    assert request.context is not None
    assert f"{request.context.trace_id:032x}" == TRACE
    assert "d-7" not in str(told(request))


def test_decision_and_call_stand_in_the_request(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with routing(tracing) as (router, _), tracing.request("/x", "POST", HEADERS):
        router.complete(REQUEST)
    request, decide, call = named(exporter, "POST"), named(exporter, "decide"), named(exporter, CHAT)

    assert parent_of(decide) == parent_of(call) == id_of(request)
    assert told(decide)["crew_moe.expert_id"] == "gpt-4o"
    assert decide.start_time is not None
    assert decide.end_time is not None
    assert decide.start_time < decide.end_time


def test_call_has_the_names_of_the_conventions(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with routing(tracing) as (router, _):
        router.complete(REQUEST, max_output_tokens=50, temperature=0.5)
    call = named(exporter, CHAT)
    attributes = told(call)

    assert call.kind is SpanKind.CLIENT
    assert (
        attributes.items()
        >= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": MODEL,
            "gen_ai.request.max_tokens": 50,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.response.finish_reasons": ("stop",),
        }.items()
    )
    assert attributes["gen_ai.usage.input_tokens"] > 0
    assert attributes["gen_ai.response.model"] == MODEL


def test_nothing_of_what_was_said_stands_in_a_span(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with routing(tracing) as (router, _), tracing.request("/x", "POST", {}):
        router.complete(REQUEST)
        router.decide_batch([REQUEST])

    assert all("secret" not in str(span.to_json()) for span in exporter.get_finished_spans())


def test_provider_is_told_of_the_trace(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with routing(tracing) as (router, sim):
        with tracing.request("/x", "POST", HEADERS):
            router.complete(REQUEST)
        (arrived,) = sim.requests
    call = named(exporter, CHAT)

    assert arrived.headers["traceparent"] == f"00-{TRACE}-{id_of(call):016x}-01"


async def test_calls_on_an_event_loop_are_spans_too(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with routing(tracing) as (router, sim):
        with tracing.request("/x", "POST", HEADERS):
            await router.acomplete(REQUEST)
            pieces = [piece async for piece in router.astream(REQUEST)]
        arrived = [request.headers["traceparent"] for request in sim.requests]
    calls = [span for span in exporter.get_finished_spans() if span.name == CHAT]

    assert pieces
    assert arrived == [f"00-{TRACE}-{id_of(call):016x}-01" for call in calls]
    assert [told(call)["gen_ai.response.model"] for call in calls] == [MODEL, MODEL]


def test_stream_that_its_reader_leaves_is_over(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with routing(tracing) as (router, _):
        pieces = iter(router.stream(REQUEST))
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]

    assert told(named(exporter, CHAT))["error.type"] == "cancelled"


def test_failed_call_names_its_error_and_the_switch(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with routing(tracing) as (router, sim), tracing.request("/x", "POST", {}):
        sim.kill("openai")
        try:
            router.complete(REQUEST.model_copy(update={"fallbacks": ("claude-sonnet-4",)}))
        except ExecutionFailed:
            pytest.fail("nobody took over")
    call, request = named(exporter, CHAT), named(exporter, "POST")

    assert (told(call)["error.type"], call.status.status_code) == ("connection", StatusCode.ERROR)
    assert [event.name for event in request.events] == ["expert_switched"]


@pytest.mark.parametrize("name", ["OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"])
def test_nothing_is_traced_where_the_environment_says_so(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "false")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv(name, {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "none"}[name])
    tracing = Tracing.open()

    with tracing.request("/x", "GET", HEADERS) as span:
        span.answered(200)
    assert not tracing.on


def test_nothing_is_traced_where_nobody_set_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SDK_DISABLED")

    assert not Tracing.open().on


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:1"])
def test_without_the_library_only_a_named_endpoint_is_an_error(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "false")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    with pytest.raises(MissingExtra, match=r"crew-moe\[otel\]") if endpoint else nullcontext():
        assert not Tracing.open().on


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An OTLP endpoint on loopback, and what it has received."""
    received: list[ExportTraceServiceRequest] = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            plain = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            received.append(ExportTraceServiceRequest.FromString(plain))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", received
    server.shutdown()
    server.server_close()
    thread.join()


def test_spans_reach_the_endpoint_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with collector() as (url, received), simulate() as sim:
        monkeypatch.setenv("OTEL_SDK_DISABLED", "false")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        telemetry = Telemetry.open(":memory:")
        with Router.from_config(
            state=":memory:", base_url=sim.base_url, sink=Recorder(), watchers=telemetry.watchers
        ) as router:
            telemetry.bind(router)
            router.complete(REQUEST)
            telemetry.close()
    resources = [resource for request in received for resource in request.resource_spans]
    names = {span.name for one in resources for scope in one.scope_spans for span in scope.spans}
    services = {pair.value.string_value for pair in resources[0].resource.attributes if pair.key == "service.name"}

    assert names == {"decide", CHAT}
    assert services == {"crew-moe"}
