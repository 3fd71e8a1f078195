"""C8, C11, C18: tests of servers that answer byte by byte or without end: each client gives up in time."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, repeat

import httpx
import pytest

from kit.gateway import site
from zmart import bounded_http
from zmart.chain.helius import HeliusClient, HeliusError
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.ipfs.cid import cid_of
from zmart.ipfs.gateway import fetch_from_gateway
from zmart.ipfs.pinata import PinataClient
from zmart.ipfs.pinning import PinError
from zmart.ops.alerts import send_next
from zmart.store import alerts
from zmart.store.pool import Pool

WITHIN_S = 0.3
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def head_by_bytes() -> Iterator[bytes]:
    yield from (bytes([number]) for number in OK * 100)


def body_by_bytes() -> Iterator[bytes]:
    yield from chain([CHUNKED], repeat(b"1\r\n \r\n"))


def body_without_end() -> Iterator[bytes]:
    yield from chain([CHUNKED], repeat(b"10000\r\n" + b" " * 65_536 + b"\r\n"))


WAYS = [head_by_bytes, body_by_bytes, body_without_end]


@contextmanager
def answering(way: Callable[[], Iterator[bytes]]) -> Iterator[str]:
    """Serve the pieces of `way`, one every tenth of WITHIN_S, and yield the URL.

    The server runs in threads, and its sockets close at the end of the block.
    """
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def answer(client: socket.socket) -> None:
        with client, suppress(OSError):
            client.settimeout(1)
            client.recv(65_536)
            for piece in way():
                client.sendall(piece)
                if ended.wait(WITHIN_S / 10):
                    return

    def accept() -> None:
        while not ended.is_set():
            with suppress(TimeoutError):
                threads.append(threading.Thread(target=answer, args=(listener.accept()[0],)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            for thread in (accepting, *threads):
                thread.join()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_an_answer_has_a_time_and_a_size_in_all(way) -> None:
    with answering(way) as url:
        async with httpx.AsyncClient() as http, asyncio.timeout(10):
            with pytest.raises(httpx.HTTPError):
                await bounded_http.request(http, "GET", url, within_s=WITHIN_S, max_bytes=1_000_000)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_a_file_from_a_gateway_has_a_time_and_a_size_in_all(way) -> None:
    with answering(way) as url, pytest.raises(PinError):
        async with asyncio.timeout(10):
            await fetch_from_gateway(url, cid_of(b"x", 1), max_bytes=1_000_000, within_s=WITHIN_S)


@pytest.mark.parametrize("way", WAYS[:2], ids=lambda way: way.__name__)
async def test_pinata_and_helius_have_a_time_for_their_answer(way) -> None:
    with answering(way) as url:
        async with asyncio.timeout(30), PinataClient(url, {}, within_s=WITHIN_S) as pins:
            with pytest.raises(PinError, match="does not answer"):
                await pins.check()
        async with asyncio.timeout(10), HeliusClient(url, "key", within_s=WITHIN_S) as helius:
            with pytest.raises(HeliusError, match="does not answer"):
                await helius.webhooks()


async def test_of_an_endless_answer_of_the_rpc_a_gateway_reads_little(database_url: str) -> None:
    """A5, C11: a gateway reads 4 MiB of an answer of the RPC at most, since every request may be reading one."""
    with answering(body_without_end) as url:
        async with site(database_url, solana_rpc_url=url) as here, asyncio.timeout(20):
            with pytest.raises(ChainError, match=r"more than 4194304 bytes|did not answer"):
                await here.gateway.context.chain().get_slot()
            assert here.gateway.context.chain()._rpc._max_answer_bytes == 4_194_304
        async with Rpc([url], 5.0, attempts=1, max_answer_bytes=500_000) as rpc, asyncio.timeout(20):
            with pytest.raises(ChainError, match="more than 500000 bytes"):
                await rpc.get_slot()


@pytest.mark.parametrize("way", WAYS[:2], ids=lambda way: way.__name__)
async def test_a_receiver_that_does_not_end_its_answer_stops_no_other_alert(pool: Pool, way) -> None:
    """C18: an alert whose receiver does not end its answer counts as not delivered, and the sender goes on."""
    await alerts.raise_alert(pool, "first", "critical", "m")
    with answering(way) as url:
        async with httpx.AsyncClient() as http, asyncio.timeout(10):
            assert await send_next(pool, http, f"{url}/hook", within_s=WITHIN_S)
    assert (await pool.fetchval("SELECT claimed_until > now() FROM alerts")) is True
    assert await pool.fetchval("SELECT count(*) FROM alerts WHERE notified_at IS NOT NULL") == 0
