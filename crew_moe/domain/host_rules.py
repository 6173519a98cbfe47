"""Which addresses a registered service may have: public ones, and those of a network's own that somebody listed.

Whoever registers a service has the router send requests to it. So that nobody has it ask what only the router can
reach (itself, its neighbours, a cloud's metadata), such addresses are refused unless they are listed. A name is judged
as it is written, and what it stands for when it is registered and again with every connection.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from crew_moe.errors import HostNotAllowed, InvalidInput

IPv4 = ipaddress.IPv4Address
IPv6 = ipaddress.IPv6Address
IPv6Network = ipaddress.IPv6Network
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK: Final = ("localhost", "127.0.0.0/8", "::1/128")
"""What to list where services run on the router's own machine."""
SCHEMES: Final = ("http", "https")
FORMS: Final = ("a host", "*.domain", "an address", "a network such as 10.0.0.0/8")
MAX_URL: Final = 2000

_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_NUMERIC: Final = re.compile(
    r"(.*\.)?(0[xX][0-9a-fA-F]*|[0-9]+)"
)  # ends in a number: some systems read it as an address
# Names that never leave a network, and those of metadata servers; a name without a dot is one of the first kind.
_INTERNAL: Final = frozenset(
    {"localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp", "private", "arpa"}
)
_LOOPBACK_NAME: Final = "localhost"
# Networks that carry the address of another one in their last 32 bits.
_EMBEDDING: Final = tuple(map(IPv6Network, ("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48")))
_MACHINES_OWN: Final = IPv4("127.0.0.1")
_PUBLIC: Final = IPv6Network("2000::/3")
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
# What no name vouches for: link-local networks and others without a router, and where clouds keep their metadata.
_DANGEROUS: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "100.100.100.200/32", "192.0.0.192/32"),
            *("::/128", "fe80::/10", "fec0::/10", "ff00::/8", "fd00:ec2::/32"),
        ),
    )
)
_KINDS: Final = (
    ("unspecified", "no address"),
    ("loopback", "this machine"),
    ("link_local", "link-local"),
    ("multicast", "multicast"),
    ("reserved", "reserved"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRules:
    """`names` and `networks` that are listed; `domains` stand for every name below them."""

    names: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def read(cls, listed: Iterable[str], *, where: str = "service_hosts") -> Self:
        """The rules for a list of hosts, `*.domain`s, addresses and networks. Raises InvalidInput."""
        names, domains, networks = set[str](), set[str](), list[Network]()
        for entry in listed:
            word = entry.strip().lower().rstrip(".")
            bare = word.removeprefix("*.")
            network = _network(word)
            if network is not None:
                networks.append(network)
            elif _NUMERIC.fullmatch(bare) or not _NAME.fullmatch(bare):
                raise InvalidInput(f"'{entry.strip()[:60]}' is no host and no network", where=where, allowed=FORMS)
            else:
                (names if bare == word else domains).add(bare)
        return cls(names=frozenset(names), domains=frozenset(domains), networks=tuple(networks))

    def check_url(self, url: str, *, where: str) -> str:
        """The host of an address that may be registered. Raises InvalidInput for what is no plain http(s) address, and
        HostNotAllowed for a host that may not be asked.
        """
        host = _host_of(url, where)
        why = self.refusal(host)
        if why:
            raise HostNotAllowed(f"its host {why}", where=where, allowed=FORMS)
        return host

    def refusal(self, host: str) -> str:
        """Why this host, as it is written, may not be asked; empty where it may."""
        address = _address(host)
        if address is not None:
            return "" if self.allows(host, address) else f"is {_kind(address)} and not listed"
        if not _NAME.fullmatch(host) or _NUMERIC.fullmatch(host):
            return "is neither a name nor an address in its plain form"
        if self._lists(host):
            return ""
        if host == _LOOPBACK_NAME or host.endswith(f".{_LOOPBACK_NAME}"):
            return "" if self._covers(_MACHINES_OWN) else "is this machine and not listed"
        if "." not in host or host.rpartition(".")[2] in _INTERNAL:
            return "is a name of a private network and not listed"
        return ""

    def allows_address(self, host: str, address: str) -> bool:
        """Whether `host` may be asked at this address, which a look-up gave for it."""
        found = _address(address.partition("%")[0])
        return found is not None and "%" not in address and self.allows(host, found)

    def allows(self, host: str, address: IPv4 | IPv6) -> bool:
        """As `allows_address`. A name that is listed vouches for private addresses and for this machine's own, but not
        for those of _DANGEROUS, which have to be listed themselves.
        """
        whole = (address, _inner(address))
        if any(map(self._covers, whole)) or all(map(_is_public, whole)):
            return True
        return self._lists(host) and not any(one in network for one in whole for network in _DANGEROUS)

    def _lists(self, host: str) -> bool:
        return host in self.names or any(host.endswith(f".{domain}") for domain in self.domains)

    def _covers(self, address: IPv4 | IPv6) -> bool:
        return any(address in network for network in self.networks)


def is_public(host: str) -> bool:
    """Whether a host, as it is written, is one of the internet's; a name that might be counts as one.

    >>> [is_public(host) for host in ("gpu-box", "10.0.0.7", "gpu.lan", "api.example.com", "8.8.8.8")]
    [False, False, False, True, True]
    """
    return not HostRules().refusal(host.lower().rstrip("."))


def _host_of(url: str, where: str) -> str:
    """The host, in lower case and without a final dot."""
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url and len(url) <= MAX_URL
    try:
        parts = urlsplit(url) if plain else None
        port = None if parts is None else parts.port
        host = None if parts is None else parts.hostname
    except ValueError:
        parts = port = host = None
    if parts is None or parts.scheme not in SCHEMES or not host or port == 0 or parts.netloc.endswith(":"):
        raise HostNotAllowed(
            "is no plain address", where=where, allowed=("https://host:port/path", "http://host:port/path")
        )
    if "@" in parts.netloc:
        raise HostNotAllowed("an address must not hold a user or a password", where=where)
    if "?" in url or "#" in url:
        raise HostNotAllowed("an address must not have a query or a fragment", where=where)
    return host.removesuffix(".")


def _address(host: str) -> IPv4 | IPv6 | None:
    """The address that a host is, in its plain form; None for anything else."""
    try:
        return ipaddress.ip_address(host) if "%" not in host else None
    except ValueError:
        return None


def _network(word: str) -> Network | None:
    try:
        return ipaddress.ip_network(word)
    except ValueError:
        return None


def _inner(address: IPv4 | IPv6) -> IPv4 | IPv6:
    """The address that is reached in the end, where a tunnel or a translation carries it; else the address itself."""
    if isinstance(address, IPv4):
        return address
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if int(address) > 1 and any(address in network for network in _EMBEDDING):
        return IPv4(int(address) & 0xFFFFFFFF)
    return address


def _is_public(address: IPv4 | IPv6) -> bool:
    if isinstance(address, IPv6) and address not in _PUBLIC:
        return address in _TRANSLATED  # then it is as public as the address inside
    return address.is_global and not address.is_multicast and not address.is_reserved


def _kind(address: IPv4 | IPv6) -> str:
    inner = _inner(address)
    return next((told for kind, told in _KINDS if getattr(inner, f"is_{kind}")), "private")
