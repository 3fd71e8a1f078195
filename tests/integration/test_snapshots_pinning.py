"""Tests of the pin client: it trusts neither the CID that a provider returns nor the bytes that a gateway serves."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import stamina

from kit import http_servers
from zmart.errors import ConfigError, Invalid
from zmart.ipfs.cid import cid_of
from zmart.ipfs.gateway import fetch_from_gateway
from zmart.ipfs.pinata import PinataClient
from zmart.ipfs.pinning import PinError
from zmart.settings import load_settings

DATA = b'{"a":1}'
Answer = tuple[int, bytes]


@pytest.fixture(autouse=True)
def no_waits_between_attempts():
    with stamina.set_testing(True, attempts=4):
        yield


@asynccontextmanager
async def answering(answer: Callable[[int], Answer]) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve `answer(number of the call)`, counted from 1; yield the URL and the list of received bodies."""
    bodies: list[bytes] = []

    async def application(scope, receive, send) -> None:
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part.get("body", b""), part.get("more_body", False)
        bodies.append(body)
        status, content = answer(len(bodies))
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": content})

    async with http_servers.serving(application) as url:
        yield url, bodies


async def test_our_own_bytes_are_uploaded_and_the_same_cid_is_accepted():
    cid = cid_of(DATA, 1)
    good = (200, b'{"IpfsHash":"%b","PinSize":7}' % cid.encode())
    async with answering(lambda _: good) as (url, bodies), PinataClient(url, {}) as pins:
        assert (await pins.pin(DATA, "a.json")).cid == cid
    assert DATA in bodies[0]
    assert b'"cidVersion":1' in bodies[0]


async def test_another_cid_than_ours_is_refused():
    other = cid_of(b"something else", 1).encode()
    wrong = (200, b'{"IpfsHash":"%b","PinSize":7}' % other)
    async with answering(lambda _: wrong) as (url, _), PinataClient(url, {}) as pins:
        with pytest.raises(PinError, match="but its bytes are"):
            await pins.pin(DATA, "a.json")


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_provider_that_is_busy_is_asked_again(status):
    cid = cid_of(DATA, 0).encode()
    good = (200, b'{"IpfsHash":"%b"}' % cid)
    third_time = lambda call: (status, b"busy") if call < 3 else good  # noqa: E731
    async with answering(third_time) as (url, bodies), PinataClient(url, {}) as pins:
        assert (await pins.pin(DATA, "a.json", cid_version=0)).cid == cid.decode()
    assert len(bodies) == 3


async def test_a_refusal_is_not_repeated_and_says_what_to_check():
    async with answering(lambda _: (401, b"no")) as (url, bodies), PinataClient(url, {}) as pins:
        with pytest.raises(PinError, match="PINATA_JWT"):
            await pins.check()
    assert len(bodies) == 1


async def test_unpinning_what_is_not_pinned_is_harmless():
    body = b'{"error":{"reason":"CURRENT_USER_HAS_NOT_PINNED_CID"}}'
    async with answering(lambda _: (500, body)) as (url, _), PinataClient(url, {}) as pins:
        assert await pins.unpin(cid_of(DATA, 1)) is False


async def test_an_answer_that_cannot_be_read_is_a_pin_error():
    async with answering(lambda _: (200, b"<html>")) as (url, _), PinataClient(url, {}) as pins:
        with pytest.raises(PinError, match="cannot be read"):
            await pins.pin(DATA, "a.json")


@pytest.mark.parametrize("version", [0, 1])
async def test_a_gateways_bytes_count_only_if_they_hash_to_the_cid(version):
    big = bytes(700_000)
    async with answering(lambda _: (200, big)) as (url, _):
        assert await fetch_from_gateway(url, cid_of(big, version)) == big
        with pytest.raises(PinError, match="not"):
            await fetch_from_gateway(url, cid_of(DATA, version))
        with pytest.raises(PinError, match="larger"):
            await fetch_from_gateway(url, cid_of(big, version), max_bytes=1000)
        with pytest.raises(Invalid):
            await fetch_from_gateway(url, "../secrets")


def test_without_credentials_one_sentence_names_the_settings():
    with pytest.raises(ConfigError, match="PINATA_JWT"):
        PinataClient.from_settings(load_settings(_env_file=None))
