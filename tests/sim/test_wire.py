"""HTTP at its edges, byte by byte."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest

from crew_moe.sim import Simulation, wire
from crew_moe.sim.server import Port

BODY = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}'


def connect(sim: Simulation) -> socket.socket:
    return socket.create_connection(("127.0.0.1", httpx.URL(sim.base_url).port or 0), timeout=10)


def head(*lines: str, length: int = len(BODY)) -> bytes:
    start = ["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Content-Length: {length}", *lines]
    return "\r\n".join([*start, "", ""]).encode()


def read_all(raw: socket.socket) -> bytes:
    received = b""
    while part := raw.recv(65_536):
        received += part
    return received


async def test_small_writes_leave_at_once() -> None:
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    port = Port()
    await port.open(lambda _, writer: accepted.put_nowait(writer))
    _, client = await asyncio.open_connection("127.0.0.1", port.number)
    server = await accepted.get()

    assert server.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    for writer in (client, server):
        writer.close()
    port.give_up()


def test_request_in_single_bytes_is_understood(sim: Simulation) -> None:
    with connect(sim) as raw:
        for byte in head("Connection: close") + BODY:
            raw.sendall(bytes([byte]))
        assert read_all(raw).startswith(b"HTTP/1.1 200")


def test_client_that_waits_for_100_continue_gets_it(sim: Simulation) -> None:
    with connect(sim) as raw:
        raw.sendall(head("Expect: 100-continue", "Connection: close"))
        assert raw.recv(1024).startswith(b"HTTP/1.1 100")
        raw.sendall(BODY)
        assert b"HTTP/1.1 200" in read_all(raw)


def test_two_requests_sent_at_once_get_two_answers(sim: Simulation) -> None:
    with connect(sim) as raw:
        raw.sendall(head() + BODY + head("Connection: close") + BODY)
        assert read_all(raw).count(b"HTTP/1.1 200") == 2


def test_what_is_no_http_gets_a_400_and_the_end(sim: Simulation) -> None:
    with connect(sim) as raw:
        raw.sendall(b"\x16\x03\x01 this is TLS\r\n\r\n")
        assert read_all(raw).startswith(b"HTTP/1.1 400")


def test_client_that_leaves_in_the_middle_harms_nobody(sim: Simulation) -> None:
    with connect(sim) as raw:
        raw.sendall(head()[:-10])
    with connect(sim) as raw:
        raw.sendall(head("Connection: close") + BODY)
        assert read_all(raw).startswith(b"HTTP/1.1 200")


def test_body_beyond_the_limit_is_refused(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_BODY_BYTES", 10)
    with connect(sim) as raw:
        raw.sendall(head() + BODY)
        assert read_all(raw).startswith(b"HTTP/1.1 413")
