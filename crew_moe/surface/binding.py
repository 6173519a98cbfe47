"""Where a service listens: on loopback for everybody there, beyond it only for those who say who they are."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

from crew_moe.errors import InvalidInput

BACKLOG: Final = 1024
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach the address. A name other than localhost is not taken at its word."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listening(host: str, port: int, *, guarded: bool) -> socket.socket:
    """A socket that listens; port 0 takes a free one. Raises InvalidInput for an address beyond loopback where nobody
    has to say who they are, and for one that can't be had.
    """
    if not (guarded or is_loopback(host)):
        raise InvalidInput(
            f"{host} can be reached from other machines, and nobody would have to say who they are; set "
            "CREW_MOE_API_KEYS or the CREW_MOE_JWT_* variables first",
            where="--host",
            allowed=LOOPBACK,
        )
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InvalidInput(f"{host} is no address of this machine ({error.strerror})", where="--host") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise InvalidInput(f"can't listen on {host}, port {port}: {error.strerror}", where="--port") from None
    return listener
