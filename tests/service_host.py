"""A real server on loopback that does the work of registered services: JSON at /run, chats at /v1, its health."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast


@dataclass(slots=True)
class Host:
    """What arrived, and how it answers. While `open` is not set, POSTs wait."""

    port: int = 0
    well: bool = True
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    open: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    calls: list[tuple[str, str, Any]] = field(default_factory=list)

    def url(self, path: str = "/run", *, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    @property
    def posts(self) -> list[Any]:
        """The JSON of every POST."""
        return [body for method, _, body in self.calls if method == "POST"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: Host) -> None:
        self.host = host
        super().__init__(("127.0.0.1", 0), _Answers)


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        host = cast("_Server", self.server).host
        host.calls.append(("GET", self.path, None))
        self._send(200 if host.well else 503, b"")

    def do_POST(self) -> None:
        host = cast("_Server", self.server).host
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        host.calls.append(("POST", self.path, body))
        host.arrived.release()
        host.open.wait(10)
        told = _chat(body) if self.path.endswith("/chat/completions") else {"done": body, "host": self.headers["host"]}
        self._send(host.status, json.dumps(told).encode() if host.body is None else host.body, host.headers)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _chat(body: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": f"{body['model']} says hello"}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return {
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage,
    }


@contextmanager
def hosting(tls: ssl.SSLContext | None = None) -> Iterator[Host]:
    """The server, until the block ends."""
    host = Host()
    host.open.set()
    server = _Server(host)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    host.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        host.open.set()
        server.shutdown()
        server.server_close()
        thread.join()
