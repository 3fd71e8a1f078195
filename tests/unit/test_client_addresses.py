"""A9, W16, W17, W18: HTTP and WebSocket limits use the same address for a client."""

from __future__ import annotations

from ipaddress import IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.errors import ConfigError
from zmart.services.client_addresses import ClientAddresses, parse_proxies

BEHIND = ClientAddresses(parse_proxies("10.0.0.0/8, ::1, fd00::/8"))
DIRECT = ClientAddresses(parse_proxies(""))


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        ("8.8.8.8", ["1.1.1.1"], "8.8.8.8"),
        ("10.0.0.1", ["1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6, 1.1.1.1, 10.9.9.9"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6", "1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6, 1.1.1.1", "10.9.9.9", ""], "1.1.1.1"),
        ("10.0.0.1", ["1.1.1.1:4711"], "1.1.1.1"),
        ("10.0.0.1", ["[2001:db8::9]:4711"], "2001:db8::/64"),
        ("10.0.0.1", ["::ffff:1.1.1.1"], "1.1.1.1"),
        ("::ffff:10.0.0.1", ["1.1.1.1"], "1.1.1.1"),
        ("fd00::5", ["2001:db8::1"], "2001:db8::/64"),
        ("10.0.0.1", ["rubbish"], "10.0.0.1"),
        ("10.0.0.1", ["1.1.1.1, rubbish"], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.1.1.1"], "10.0.0.1"),
        ("2001:db8::1", [], "2001:db8::/64"),
        ("::1", [], "::1"),
        (None, [], "unknown"),
        ("/run/socket", [], "/run/socket"),
    ],
)
def test_the_client_is_the_last_address_that_no_proxy_of_ours_has(
    peer: str | None, lines: list[str], client: str
) -> None:
    assert BEHIND.of(peer, [line.encode() for line in lines]) == client


@pytest.mark.parametrize("setting", ["::ffff:10.0.0.0/104", "::ffff:a00:1", "::ffff:10.0.0.1/128"])
@pytest.mark.parametrize("peer", ["10.0.0.1", "::ffff:10.0.0.1"])
def test_a_proxy_may_be_named_in_either_form(setting: str, peer: str) -> None:
    """W17: a proxy is recognized whether it is named in IPv4 or in IPv4-mapped IPv6 form."""
    clients = ClientAddresses(parse_proxies(setting))
    assert clients.of(peer, [b"1.1.1.1"]) == "1.1.1.1"
    assert clients.of("11.0.0.1", [b"1.1.1.1"]) == "11.0.0.1"


def test_nobody_is_believed_where_no_proxy_is_trusted() -> None:
    assert DIRECT.of("10.0.0.1", [b"1.1.1.1"]) == "10.0.0.1"


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_all_addresses_of_an_ipv6_subnet_are_one_client(one: int, other: int) -> None:
    subnet = IPv6Network("2001:db8:7::/64")
    names = {DIRECT.of(str(subnet[number])) for number in (one, other)}
    names |= {DIRECT.of(subnet[one].exploded), BEHIND.of("10.0.0.1", [f"[{subnet[other]}]:1".encode()])}
    assert names == {str(subnet)}


@given(st.binary(max_size=2_000).filter(lambda line: b"\n" not in line))
def test_what_a_client_writes_itself_never_counts(line: bytes) -> None:
    """Only the address that the proxy appends counts, in the same header line or in another one."""
    assert BEHIND.of("10.0.0.1", [line, b"1.1.1.1"]) == "1.1.1.1"
    assert BEHIND.of("10.0.0.1", [line + b", 1.1.1.1"]) == "1.1.1.1"


def test_an_asgi_request_is_asked_with_all_its_header_lines() -> None:
    headers = [(b"x-forwarded-for", b"6.6.6.6"), (b"host", b"x"), (b"x-forwarded-for", b"1.1.1.1")]
    assert BEHIND.of_scope({"client": ("10.0.0.1", 9), "headers": headers}) == "1.1.1.1"
    assert BEHIND.of_scope({"client": None, "headers": headers}) == "unknown"


def test_a_proxy_that_is_no_network_is_named() -> None:
    with pytest.raises(ConfigError, match="TRUSTED_PROXIES holds 'nonsense'"):
        parse_proxies("10.0.0.1, nonsense")
