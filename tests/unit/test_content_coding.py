"""Tests of the choice of a content coding by Accept-Encoding (RFC 9110, 12.5.3)."""

import pytest

from zmart.services.gateway.http.content_coding import accepts_gzip

ACCEPTED = (
    "gzip", "GZIP", "x-gzip", "gzip;q=1", "gzip;q=1.000", "gzip ; q=0.001", "gzip;Q=0.5", "deflate, gzip", "br,gzip",
    "*", "*;q=0.1", "identity, *", "gzip, *;q=0", " gzip", "compress;q=0.5, gzip;q=1.0",
)  # fmt: skip
REFUSED = (
    "", "identity", "gzip;q=0", "gzip;q=0.", "gzip;q=0.000", "identity, gzip;q=0.0", "x-gzip;q=0", "*;q=0",
    "gzip;q=0, *", "*, gzip;q=0", "br", "notgzip", "gzipped", "gzip;q=", "gzip;q=2", "gzip;q=-1", "gzip;q=nan",
    "gzip;level=9", ";q=1", ",",
)  # fmt: skip


@pytest.mark.parametrize("header", ACCEPTED)
def test_gzip_is_sent_to_clients_that_accept_it(header: str) -> None:
    assert accepts_gzip(header)


@pytest.mark.parametrize("header", REFUSED)
def test_gzip_is_not_sent_to_clients_that_refuse_it_or_do_not_name_it(header: str) -> None:
    """`gzip;q=0` says that gzip is not acceptable: it was answered with gzip."""
    assert not accepts_gzip(header)
