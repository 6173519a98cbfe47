"""Where a registered service may be, and all the ways in which people ask for where it may not."""

from __future__ import annotations

import ipaddress

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.host_rules import LOOPBACK, HostRules
from crew_moe.errors import HostNotAllowed, InvalidInput
from tests.routing.given import STEADY

NOBODY = HostRules()
MACHINE = HostRules.read(LOOPBACK)
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nobody listens here: it is what must not be asked
ADDRESSES = st.ip_addresses(v=4) | st.ip_addresses(v=6)


def _refused(rules: HostRules, url: str) -> str:
    with pytest.raises(HostNotAllowed) as caught:
        rules.check_url(url, where="endpoint")
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.example.com/v1", "api.example.com"),
        ("http://API.Example.com:8080", "api.example.com"),
        ("https://example.com.", "example.com"),
        ("http://8.8.8.8/run", "8.8.8.8"),
        ("https://[2606:4700::1111]:8443", "2606:4700::1111"),
        ("https://my_service.example.com", "my_service.example.com"),
    ],
)
def test_public_hosts_need_no_list(url: str, host: str) -> None:
    assert NOBODY.check_url(url, where="endpoint") == host


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", "localhost.", "db.localhost", "[::1]"),
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "[fd00::1]", "[fec0::1]", "198.18.0.1"),
        *("169.254.169.254", "[fe80::1]", "metadata.google.internal", "metadata", "100.100.100.200"),
        *(EVERYWHERE, "[::]", "255.255.255.255", "240.0.0.1", "224.0.0.1", "[ff02::1]", "0.1.2.3"),
        *("[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
        *("[2002:a00:1::]", "[2001:0:7f00:1::]", "router.lan", "printer.local", "redis", "wiki.corp", "x.home.arpa"),
    ],
)
def test_what_is_no_public_host_is_refused(host: str) -> None:
    assert "not listed" in _refused(NOBODY, f"http://{host}/")
    assert "not listed" in _refused(NOBODY, f"https://{host}:8443/a/b")


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f000001", "017700000001", "127.1", "127.0.1", "0177.0.0.1", "0x7f.0.0.1", "0"),
        *("1.2.3.4.5", "256.256.256.256", "127.0.0.1.0x1", "%31%32%37.0.0.1", "[fe80::1%25eth0]", "-a.example.com"),
        *("a..example.com", "example.com-", "127.0.0.01"),
    ],
)
def test_addresses_in_any_but_their_plain_form_are_refused(host: str) -> None:
    for rules in (NOBODY, MACHINE):
        assert "plain form" in _refused(rules, f"http://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.com", "file:///etc/passwd", "gopher://example.com", "//example.com", "example.com", "http://"),
        *("http://user@example.com", "http://a:b@127.0.0.1", "http://example.com@127.0.0.1/", "http://@example.com"),
        *(
            "http://example.com\\@127.0.0.1/",
            "http://example.com /",
            "http://exam\tple.com",
            "http://example.com\r\nX: 1",
        ),
        *("http://example.com?q=1", "http://example.com/#f", "http://example.com:0", "http://example.com:99999"),
        *(
            "http://example.com:",
            "http://[::1",
            "http://\uff11\uff12\uff17.0.0.1",
            "http://127\u30020\u30020\u30021",
            "http://" + "a" * 3000,
        ),
        "http://example.com:8o80",
    ],
)
def test_what_is_no_plain_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"^endpoint: "):
        MACHINE.check_url(url, where="endpoint")


def test_refusal_repeats_no_address() -> None:
    assert "10.20.30.40" not in _refused(NOBODY, "http://10.20.30.40/secret")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]", "[::ffff:127.0.0.1]", "x.localhost"])
def test_listed_loopback_lets_this_machine_in(host: str) -> None:
    assert MACHINE.check_url(f"http://{host}:8006", where="endpoint")


@pytest.mark.parametrize("host", ["169.254.169.254", "10.0.0.1", EVERYWHERE, "[::]", "redis", "[fe80::1]"])
def test_listed_loopback_lets_nobody_else_in(host: str) -> None:
    _refused(MACHINE, f"http://{host}:8006")


def test_lists_hold_hosts_domains_and_networks() -> None:
    rules = HostRules.read([" Redis ", "*.svc.cluster.local", "10.1.0.0/16", "fd12::/32", "192.168.7.7", "db."])

    for host in ("redis", "a.svc.cluster.local", "x.y.svc.cluster.local", "10.1.2.3", "[fd12::9]", "192.168.7.7", "db"):
        assert rules.check_url(f"http://{host}/", where="endpoint")
    for host in ("redis2", "svc.cluster.local", "evilsvc.cluster.local", "10.2.0.1", "[fd13::9]", "192.168.7.8"):
        _refused(rules, f"http://{host}/")


@pytest.mark.parametrize("entry", ["", "http://x", "10.0.0.1/8", "a b", "*", "*.", "127.1", "0x7f", "x:80", "[::1]"])
def test_a_list_with_what_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(InvalidInput, match="no host and no network"):
        HostRules.read(["example.com", entry])


def test_a_name_stands_for_public_addresses_alone() -> None:
    assert NOBODY.allows_address("api.example.com", "93.184.216.34")
    for address in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fe80::1", "fe80::1%eth0", "::ffff:10.0.0.1"):
        assert not NOBODY.allows_address("api.example.com", address)


def test_a_listed_name_vouches_for_private_addresses_but_for_no_dangerous_ones() -> None:
    rules = HostRules.read(["db.internal", "localhost"])

    assert all(
        rules.allows_address("db.internal", address) for address in ("10.0.0.1", "100.64.0.1", "127.0.0.1", "fd00::1")
    )
    for address in ("169.254.169.254", "fe80::1", EVERYWHERE, "224.0.0.1", "fd00:ec2::254", "::ffff:169.254.169.254"):
        assert not rules.allows_address("db.internal", address)
    assert not rules.allows_address("other.internal", "10.0.0.1")


@STEADY
@given(ADDRESSES)
def test_an_address_passes_unlisted_only_where_the_whole_world_can_be_asked(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if NOBODY.allows("example.com", address):
        assert address.is_global
        kinds = ("private", "loopback", "link_local", "multicast", "unspecified", "site_local")
        assert not [kind for kind in kinds if getattr(address, f"is_{kind}", False)]


@STEADY
@given(st.ip_addresses(v=4, network="127.0.0.0/8") | st.ip_addresses(v=4, network="169.254.0.0/16"), st.data())
def test_no_way_to_write_an_inner_address_passes(address: ipaddress.IPv4Address, data: st.DataObject) -> None:
    number, parts = int(address), str(address).split(".")
    forms = [
        *(str(number), hex(number), f"0{number:o}", ".".join(hex(int(part)) for part in parts)),
        *(".".join(f"0{int(part):o}" for part in parts), f"{parts[0]}.{number & 0xFFFFFF}", f"{address}."),
        *(
            f"[::ffff:{address}]",
            f"[::{address}]",
            f"[64:ff9b::{address}]",
            f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::]",
        ),
    ]

    _refused(NOBODY, f"http://{data.draw(st.sampled_from(forms))}/")


@STEADY
@given(st.text(alphabet="abz019.-_:@/\\[]%#?xX~ \t\u3002\uff11", max_size=40))
def test_what_passes_is_the_host_that_is_asked(text: str) -> None:
    """The client must not read another host out of an address than the rules do."""
    url = f"http://{text}"
    try:
        host = NOBODY.check_url(url, where="endpoint")
    except InvalidInput:
        return

    assert httpx.URL(url).host.removesuffix(".").lower() == host
