"""Every Host header that the gateway accepts can be parsed by the framework behind it."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zmart.services.head_bounds import is_host

GOOD = [
    b"api.zmart.example",
    b"127.0.0.1:4000",
    b"[::1]:4000",
    b"[::1]",
    b"localhost:",
    b"a_b.example:65535",
    b"gateway-0",
]
BAD = [
    b"", b"1.2.3.4, ::1", b"::1", b"[::1", b"[::1]:http", b"a" * 130 + b":" + b"b" * 120, b"host:99999", b"host:-1",
    b"a b", b"[v1.x]", b"\xe2\x80\xae", b"a/b", b"a?b", b"a#b", b"user@host", b"a" * 254, b"[::1]x", b"host\\",
    b"a:1:2",
]  # fmt: skip


@pytest.mark.parametrize("host", GOOD)
def test_a_host_is_one_with_or_without_a_port(host: bytes) -> None:
    assert is_host(host)


@pytest.mark.parametrize("number", range(len(BAD)))
def test_what_names_no_host_is_none(number: int) -> None:
    assert not is_host(BAD[number])


@given(st.binary(max_size=60) | st.text("abz09.:[],-%@/?#\\ _", max_size=60).map(str.encode))
@example(b"[::1]:65536")
@example(b"[1.2.3.4]")
def test_every_host_that_is_let_through_stands_in_a_url(host: bytes) -> None:
    """W8: every accepted host can stand in a URL, so a framework that builds the request's URL raises no error."""
    if is_host(host):
        address = urlsplit(f"http://{host.decode('latin-1')}/path?x=1")
        assert address.path == "/path"
        assert address.port is None or address.port <= 65_535
        assert address.hostname
