"""HTTP to hosts that other people named: each connection goes to an address that the rules for hosts allow.

What a name stands for may change between two look-ups. So it is looked up here, judged, and the connection made to that
very address, while the request and its certificate keep to the name.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from typing import Final

import httpx

from crew_moe.domain.host_rules import HostRules

KEPT_ALIVE: Final = httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=30.0)

LookUp = Callable[[str, int], Awaitable[Sequence[str]]]


class AddressRefused(httpx.ConnectError):
    """The host, or everything that it stands for, may not be asked."""


async def look_up(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, by the machine's own resolver. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedTransport(httpx.AsyncBaseTransport):
    """Takes the place of httpx's own transport. Connections are shared by requests to one name only, since a
    certificate that was checked for one name says nothing of another at the same address.
    """

    def __init__(self, rules: HostRules, look_up: LookUp = look_up) -> None:
        self._rules = rules
        self._look_up = look_up
        self._pools: dict[tuple[str, str], httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises AddressRefused, and what httpx raises."""
        host = request.url.host.lower().removesuffix(".")
        refused = httpx.ConnectError("the host has no address")
        for address in await self._addresses(host, request):
            try:
                return await self._pool(request.url.scheme, host).handle_async_request(_sent_to(address, host, request))
            except httpx.ConnectError as error:
                refused = error
        raise refused

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()

    async def _addresses(self, host: str, request: httpx.Request) -> Sequence[str]:
        why = self._rules.refusal(host)
        if why:
            raise AddressRefused(f"the host {why}", request=request)
        try:
            found = await self._look_up(host, request.url.port or 0)
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError("the host has no address", request=request) from error
        allowed = [address for address in found if self._rules.allows_address(host, address)]
        if found and not allowed:
            raise AddressRefused("the host stands for addresses that are not listed", request=request)
        return allowed

    def _pool(self, scheme: str, host: str) -> httpx.AsyncHTTPTransport:
        pool = self._pools.get((scheme, host))
        if pool is None:
            verify = self._trusted if scheme == "https" else False  # reading all certificates takes its time
            pool = httpx.AsyncHTTPTransport(verify=verify, limits=KEPT_ALIVE)
            self._pools[scheme, host] = pool
        return pool

    @cached_property
    def _trusted(self) -> ssl.SSLContext:
        return httpx.create_ssl_context()


def _sent_to(address: str, host: str, request: httpx.Request) -> httpx.Request:
    """The same request, for this address; the certificate is still the host's."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": host},
    )
