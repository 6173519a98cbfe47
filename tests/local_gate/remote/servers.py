"""Servers on loopback that speak as vLLM, SGLang, llama.cpp, Ollama and TGI publish that they do.

Each answers a chat with its last message in upper case, a word a token, an embedding with the counts of three letters,
and refuses in its own words: an unknown model, a wrong key, too much text.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, cast

from crew_moe.domain.hosting import HostKind

Answer = tuple[int, Any]
MAX_CHARS: Final = 1000


@dataclass(slots=True)
class Played:
    """How the server is, and what arrived. `faults` answer in the place of a path.

    A stream waits with its second word until it may `go_on`; one that `drips` says that it lives and nothing else; one
    that is `cut` has no end.
    """

    kind: HostKind
    models: list[str] = field(default_factory=lambda: ["tiny"])
    loaded: set[str] = field(default_factory=set)
    queue: str = "0"
    router: bool = False
    metrics: bool = True
    embeds: bool = True
    digest: str = "a80c4f17"
    key: str | None = None
    faults: dict[str, tuple[int, bytes, dict[str, str]]] = field(default_factory=dict)
    cut: bool = False
    drips: bool = False
    go_on: threading.Event = field(default_factory=threading.Event)
    hung_up: threading.Event = field(default_factory=threading.Event)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self, path: str) -> list[Any]:
        """The bodies that arrived under this path."""
        return [body for at, body in self.calls if at == path]


def _error(played: Played, status: int, message: str, kind: str) -> Answer:
    plain: dict[HostKind, Any] = {
        HostKind.TGI: {"error": message, "error_type": kind},
        HostKind.SGLANG: {"object": "error", "message": message, "type": kind, "param": None, "code": status},
    }
    return status, plain.get(played.kind, {"error": {"message": message, "type": kind, "param": None, "code": status}})


def _models(played: Played, _body: Any) -> Answer:
    rows: list[dict[str, Any]] = []
    for name in played.models:
        row: dict[str, Any] = {"id": name, "object": "model", "created": 1735142223 + len(played.calls)}
        if played.kind is HostKind.LLAMACPP:
            row |= {"owned_by": "llamacpp", "meta": {"n_ctx_train": 4096, "n_params": 165000}}
        else:
            row |= {"owned_by": played.kind.value, "root": f"acme/{name}", "max_model_len": 4096}
        if played.router:
            row["status"] = {"value": "loaded" if name in played.loaded else "unloaded"}
        rows.append(row)
    return 200, {"object": "list", "data": rows}


def _tags(played: Played, _body: Any) -> Answer:
    return 200, {"models": [{"name": name, "model": name, "digest": played.digest} for name in played.models]}


def _ps(played: Played, _body: Any) -> Answer:
    rows = [{"name": name, "model": name, "digest": played.digest, "size_vram": 9} for name in sorted(played.loaded)]
    return 200, {"models": rows}


def _info(played: Played, _body: Any) -> Answer:
    return 200, {"model_id": played.models[0], "model_sha": played.digest, "model_dtype": "float16", "version": "3.3.4"}


def _health(played: Played, _body: Any) -> Answer:
    return 200, {"status": "ok"} if played.kind is HostKind.LLAMACPP else None


GAUGES: Final = {
    HostKind.VLLM: "vllm:num_requests_waiting",
    HostKind.SGLANG: "sglang:num_queue_reqs",
    HostKind.LLAMACPP: "llamacpp:requests_deferred",
    HostKind.TGI: "tgi_queue_size",
}


def _metrics(played: Played, _body: Any) -> Answer:
    if played.router:
        played.loaded.add(played.models[0])
    if not played.metrics:
        return _error(played, 501, "This server does not support metrics endpoint.", "not_supported_error")
    name = GAUGES[played.kind]
    labels = '{engine="0",model_name="a } b"}' if played.kind is HostKind.VLLM else ""
    page = f"# HELP {name} Requests.\n# TYPE {name} gauge\n{name}_total 7\n{name}{labels} {played.queue}\n"
    return 200, page.encode()


def _embedding(played: Played, body: Any) -> Answer:
    if not played.embeds:
        return _error(played, 501, "This server does not support embeddings.", "not_supported_error")
    rows = [[*(float(text.count(letter)) for letter in "abc"), 1.0] for text in body["input"]]
    if played.kind is HostKind.OLLAMA:
        return 200, {"model": body["model"], "embeddings": rows}
    data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
    return 200, {"object": "list", "data": data[::-1], "model": body["model"]}


def _chat(played: Played, body: Any) -> Answer:
    names = {name.removesuffix(":latest") for name in played.models} | set(played.models)
    if body["model"] not in names:
        return _error(played, 404, f"The model `{body['model']}` does not exist.", "NotFoundError")
    said = str(body["messages"][-1]["content"])
    if len(said) > MAX_CHARS:
        return _error(played, 400, f"This model's maximum context length is {MAX_CHARS}: {said}", "BadRequestError")
    words = said.upper().split(" ")[: body["max_tokens"]]
    message: dict[str, Any] = {"role": "assistant", "content": " ".join(words)}
    if body.get("tools"):
        called = {"name": body["tools"][0]["function"]["name"], "arguments": {"q": said}}
        message = {"role": "assistant", "content": None, "tool_calls": [{"id": 0, "function": called}]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if body.get("tools") else "stop"}
    usage = {"prompt_tokens": len(said), "completion_tokens": len(words), "total_tokens": len(said) + len(words)}
    return 200, {"object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}


Route = Callable[[Played, Any], Answer]
_OPENAI: Final[Mapping[str, Route]] = {
    "/v1/models": _models,
    "/v1/chat/completions": _chat,
    "/v1/embeddings": _embedding,
}
ROUTES: Final[Mapping[HostKind, Mapping[str, Route]]] = {
    HostKind.VLLM: {
        **_OPENAI,
        "/health": _health,
        "/metrics": _metrics,
        "/version": lambda *_: (200, {"version": "0.11.0"}),
    },
    HostKind.SGLANG: {
        **_OPENAI,
        "/health": _health,
        "/metrics": _metrics,
        "/get_model_info": lambda played, _: (200, {"model_path": "acme/tiny", "weight_version": played.digest}),
    },
    HostKind.LLAMACPP: {**_OPENAI, "/health": _health, "/metrics": _metrics},
    HostKind.OLLAMA: {
        "/v1/chat/completions": _chat,
        "/api/tags": _tags,
        "/api/ps": _ps,
        "/api/version": lambda *_: (200, {"version": "0.12.3"}),
        "/api/embed": _embedding,
    },
    HostKind.TGI: {
        "/v1/chat/completions": _chat,
        "/health": _health,
        "/info": _info,
        "/metrics": _metrics,
    },
    HostKind.OPENAI: _OPENAI,
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, played: Played) -> None:
        self.played = played
        super().__init__(("127.0.0.1", 0), _Answers)


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._do(None)

    def do_POST(self) -> None:
        self._do(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""

    def _do(self, body: Any) -> None:
        played = cast("_Server", self.server).played
        played.calls.append((self.path, body))
        if self.path in played.faults:
            self._send(*played.faults[self.path])
            return
        if played.key is not None and self.headers.get("Authorization") != f"Bearer {played.key}":
            self._send(401, b'{"error": "Unauthorized"}', {})
            return
        route = ROUTES[played.kind].get(self.path)
        status, told = (404, {"detail": "Not Found"}) if route is None else route(played, body)
        if status == 200 and isinstance(body, dict) and body.get("stream"):
            self._send_events(played, told)
        else:
            self._send(status, told if isinstance(told, bytes) else b"" if told is None else json.dumps(told).encode())

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _send_events(self, played: Played, told: Any) -> None:
        """A word an event; the second one waits until it may go on."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        words = re.findall(r" *[^ ]+ *$| *[^ ]+|^ *$", told["choices"][0]["message"]["content"])
        chunks: list[Any] = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}]
        chunks += [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in words]
        if not played.cut:
            chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, {"choices": []}]
        try:
            for number, chunk in enumerate(chunks):
                if number == 2:  # the second word
                    played.go_on.wait(10)
                while played.drips:
                    played.hung_up.wait(0.01)
                    self.wfile.write(b": ping\n\n")
                self.wfile.write(f": ping\ndata: {json.dumps(chunk)}\n\n".encode())
                self.wfile.flush()
            if not played.cut:
                self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            played.hung_up.set()
        self.close_connection = True


@contextmanager
def playing(kind: HostKind, **told: Any) -> Iterator[Played]:
    """The server, until the block ends."""
    played = Played(kind, **told)
    played.go_on.set()
    server = _Server(played)
    played.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield played
    finally:
        played.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
