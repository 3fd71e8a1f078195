"""Tests of the fixtures on which other tests rely."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import redis

from zmart.chain.rpc import Rpc
from zmart.store.migrations import HEAD

if TYPE_CHECKING:
    from kit.servers import LocalChain


async def test_a_database_of_a_test_has_the_newest_schema(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT version_num FROM alembic_version") == HEAD
    finally:
        await connection.close()


async def test_the_chain_of_a_test_has_the_program(local_chain: LocalChain) -> None:
    async with Rpc([local_chain.rpc_url]) as rpc:
        info = await rpc.get_account(local_chain.program.addresses.global_config())
    assert info is not None
    assert info.owner == local_chain.program.address


def test_redis_starts_empty(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "over")


def test_what_the_last_test_left_in_redis_is_gone(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.get("left") is None
