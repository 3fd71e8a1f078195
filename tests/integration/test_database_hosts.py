"""Tests of a DATABASE_URL with several hosts: it leads to the primary, whatever the other hosts do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from kit.machine_time import machine_time, seconds_since
from kit.tcp_proxy import TcpProxy
from kit.waiting import until
from zmart.errors import Unavailable
from zmart.store.connection import connect
from zmart.store.pool import Pool

_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"


def through(database_url: str, *ports: int) -> str:
    """Return the address of the database with these ports of this machine as its hosts."""
    there = urlsplit(database_url)
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return there._replace(netloc=f"{there.username}:{there.password}@{hosts}").geturl()


@asynccontextmanager
async def two_hosts(database_url: str) -> AsyncIterator[tuple[TcpProxy, TcpProxy, str]]:
    """Yield two proxies of one server, which look like two hosts, and the address with both of them."""
    async with TcpProxy.before(database_url) as first, TcpProxy.before(database_url) as second:
        yield first, second, through(database_url, first.port, second.port)


@pytest.mark.parametrize("fault", ["hang", "refuse"])
async def test_a_host_that_is_gone_costs_no_time(database_url: str, fault: str) -> None:
    """A host that hangs or refuses delays no connection.

    If the hosts were tried one after the other, the first would use up the time for the second.
    """
    async with two_hosts(database_url) as (first, _, url):
        getattr(first, fault)()
        began = machine_time()
        connection = await connect(url)
        assert await connection.fetchval("SELECT 1") == 1
        assert seconds_since(began) < 2
        await connection.close()


async def test_a_pool_moves_to_the_other_host_when_its_own_is_cut_off(database_url: str) -> None:
    async with two_hosts(database_url) as (first, second, url):
        second.refuse()
        pool = await Pool.open(url, size=1)
        await second.restore()
        first.hang()
        began = machine_time()
        with pytest.raises(Unavailable):
            await pool.fetchval("SELECT 1")
        assert await pool.fetchval("SELECT 1") == 1
        assert seconds_since(began) < 8
        await pool.close()


async def test_one_statement_that_hangs_tells_of_all_connections_of_a_pool(database_url: str) -> None:
    """A statement that hangs makes a pool discard all its connections.

    Otherwise each idle connection would hang for seconds when it is used.
    """
    async with two_hosts(database_url) as (first, second, url):
        second.refuse()
        pool = await Pool.open(url, size=4)
        await asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.2)") for _ in range(4)))
        assert pool.idle == 4
        await second.restore()
        first.hang()
        with pytest.raises(Unavailable):
            await pool.fetchval("SELECT 1")
        began = machine_time()
        for _ in range(4):
            assert await pool.fetchval("SELECT 1") == 1
        assert seconds_since(began) < 1.5
        await pool.close()


async def test_a_connection_that_comes_too_late_is_ended(database_url: str) -> None:
    async with two_hosts(database_url) as (_, _, url):
        for _ in range(3):
            connection = await connect(url)
            await until(lambda c=connection: c.fetchval(_SESSIONS), lambda open_now: open_now == 1)
            await connection.close()


async def test_a_host_that_starts_is_passed_over(database_url: str) -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
        writer.write(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
        writer.close()

    here = urlsplit(database_url).port
    assert here is not None
    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as starting:
        port = starting.sockets[0].getsockname()[1]
        connection = await connect(through(database_url, port, here) + "?sslmode=disable")
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        with pytest.raises(Unavailable, match="starting up"):
            await connect(through(database_url, port, port) + "?sslmode=disable")


async def test_hosts_without_a_primary_are_told_so(database_url: str) -> None:
    """Hosts of which none has the requested role are reported with the remedy.

    The test requests a stand-by where only a primary is, which takes the same check as a missing primary.
    """
    async with TcpProxy.before(database_url) as gone:
        gone.refuse()
        url = through(database_url, urlsplit(database_url).port or 0, gone.port)
        with pytest.raises(Unavailable, match="promote a stand-by"):
            await connect(url + "?target_session_attrs=standby")
