"""Where a service may listen."""

from __future__ import annotations

import socket

import pytest

from crew_moe.errors import InvalidInput
from crew_moe.surface.binding import is_loopback, listening


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - refused, never bound
        ("::", False),
        ("192.0.2.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_only_loopback_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "moe.example"])  # noqa: S104 - refused, never bound
def test_beyond_loopback_somebody_must_say_who_they_are(host: str) -> None:
    with pytest.raises(InvalidInput, match="CREW_MOE_API_KEYS") as raised:
        listening(host, 0, guarded=False)

    assert raised.value.where == "--host"


def test_free_port_is_taken() -> None:
    with listening("127.0.0.1", 0, guarded=False) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            assert port > 0


def test_taken_port_is_told() -> None:
    with listening("127.0.0.1", 0, guarded=False) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(InvalidInput, match=f"can't listen on 127.0.0.1, port {port}") as raised:
            listening("127.0.0.1", port, guarded=False)

    assert raised.value.where == "--port"
