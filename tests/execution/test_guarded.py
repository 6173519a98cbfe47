"""Connections go where the rules for hosts allow, whatever a name stands for by then."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from crew_moe.domain.host_rules import HostRules
from crew_moe.execution.guarded import AddressRefused, GuardedTransport, look_up
from tests.service_host import Host, hosting

NAME = "api.example.com"


class Resolver:
    """Answers with one list after the other; the last one stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def _certified(name: str, file: Path) -> ssl.SSLContext:
    """A server's context with a certificate of its own for this name, written to a file together with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    made = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now - timedelta(1), now + timedelta(1), [])
    signed = made.add_extension(names, critical=False).sign(key, SHA256())
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(signed.public_bytes(Encoding.PEM) + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    with hosting() as running:
        yield running


async def _post(resolver: Resolver, url: str, *listed: str, times: int = 1) -> httpx.Response:
    async with httpx.AsyncClient(transport=GuardedTransport(HostRules.read(listed), resolver)) as client:
        for _ in range(times):
            answer = await client.post(url, json={"x": 1})
    return answer


async def test_the_connection_goes_to_the_address_and_the_request_keeps_the_name(host: Host) -> None:
    answer = await _post(Resolver(["127.0.0.1"]), host.url(host=NAME), NAME)

    assert answer.json() == {"done": {"x": 1}, "host": f"{NAME}:{host.port}"}


async def test_a_name_that_stands_for_this_machine_is_refused(host: Host) -> None:
    with pytest.raises(AddressRefused, match="not listed"):
        await _post(Resolver(["127.0.0.1"]), host.url(host=NAME))

    assert host.calls == []


async def test_a_name_that_changes_its_mind_is_refused_the_second_time(host: Host) -> None:
    resolver = Resolver(["127.0.0.1"], ["169.254.169.254"])

    with pytest.raises(AddressRefused):
        await _post(resolver, host.url(host=NAME), NAME, times=2)

    assert len(host.posts) == 1
    assert resolver.asked == [NAME, NAME]


async def test_of_several_addresses_none_but_allowed_ones_are_tried(host: Host) -> None:
    answer = await _post(Resolver(["169.254.169.254", "127.0.0.1"]), host.url(host=NAME), NAME)

    assert answer.status_code == 200


async def test_an_address_that_does_not_answer_gives_way_to_the_next(host: Host) -> None:
    answer = await _post(Resolver(["::1", "127.0.0.1"]), host.url(host=NAME), NAME)

    assert answer.status_code == 200
    with pytest.raises(httpx.ConnectError):
        await _post(Resolver(["::1"]), host.url(host=NAME), NAME)


@pytest.mark.parametrize("at", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"])
async def test_a_host_that_is_not_listed_is_not_even_looked_up(host: Host, at: str) -> None:
    resolver = Resolver(["93.184.216.34"])

    with pytest.raises(AddressRefused):
        await _post(resolver, host.url(host=at))

    assert resolver.asked == []
    assert host.calls == []


async def test_a_name_without_an_address_is_no_connection() -> None:
    with pytest.raises(httpx.ConnectError, match="no address"):
        await _post(Resolver([]), f"http://{NAME}/")


async def test_proxies_of_the_environment_are_not_used(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    answer = await _post(Resolver(["127.0.0.1"]), host.url(host=NAME), NAME)

    assert answer.status_code == 200


@pytest.mark.parametrize(("named", "good"), [(NAME, True), ("other.example.com", False)])
async def test_the_certificate_must_be_that_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, good: bool
) -> None:
    tls = _certified(named, tmp_path / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    with hosting(tls) as host:
        url = host.url(host=NAME).replace("http:", "https:")
        if good:
            assert (await _post(Resolver(["127.0.0.1"]), url, NAME)).status_code == 200
        else:
            with pytest.raises(httpx.ConnectError, match="certificate"):
                await _post(Resolver(["127.0.0.1"]), url, NAME)


async def test_the_machines_resolver_knows_this_machine() -> None:
    assert "127.0.0.1" in await look_up("localhost", 80)
    assert await look_up("127.0.0.1", 80) == ["127.0.0.1"]
