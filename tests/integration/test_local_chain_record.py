"""C14: tests that a database itself says to which chain it belongs, and that nothing is deleted in doubt."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import base58
import pytest

from zmart.errors import ConfigError, StoreError
from zmart.local.chain_record import keep_to_one_chain

HERE, OTHER = (base58.b58encode(bytes([n]) * 32).decode() for n in (7, 8))


def keep(url: str, record: Path, here: str = HERE) -> None:
    """Call keep_to_one_chain as `zmart up` does, outside of any event loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(keep_to_one_chain, url, record, here).result()


async def indexed(url: str, genesis: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "INSERT INTO index_progress (program_id, genesis_hash) VALUES ($2, $1)", genesis, OTHER
        )
        await connection.execute(f"INSERT INTO users (wallet) VALUES ('{OTHER}')")
    finally:
        await connection.close()


async def is_kept(url: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval(f"SELECT count(*) FROM users WHERE wallet = '{OTHER}'"))
    finally:
        await connection.close()


TORN = [None, "", "\n", HERE[:20], HERE[:-1], HERE + "x", "\0" * 44, "not a hash"]


async def test_a_torn_record_is_put_right_from_the_database(database_url: str, tmp_path: Path) -> None:
    """C14: a missing or damaged record of the chain is written again from the database's index."""
    await indexed(database_url, HERE)
    record = tmp_path / "chain"
    for torn in TORN:
        said(record, torn)
        keep(database_url, record)
        assert record.read_text() == HERE
        assert await is_kept(database_url)


async def test_a_database_of_another_chain_is_refused_and_kept(database_url: str, tmp_path: Path) -> None:
    """C14: a database that indexes another chain is refused and kept, whatever the record says."""
    await indexed(database_url, OTHER)
    record = tmp_path / "chain"
    for content in (*TORN, HERE, OTHER):
        said(record, content)
        with pytest.raises(ConfigError, match="Nothing was deleted") as refused:
            keep(database_url, record)
        assert "zmart up --fresh" in str(refused.value)
        assert OTHER in str(refused.value)
        assert await is_kept(database_url)
        assert (record.read_text() if record.exists() else None) == content


def said(record: Path, content: str | None) -> None:
    record.unlink(missing_ok=True)
    if content is not None:
        record.write_text(content)


async def test_a_database_without_an_index_goes_by_its_record(
    empty_database_url: str, tmp_path: Path
) -> None:
    """C14: a database without an index belongs to the chain of its record.

    A missing or damaged record is written for the running chain.
    """
    record = tmp_path / "chain"
    for torn in TORN:
        said(record, torn)
        keep(empty_database_url, record)
        assert record.read_text() == HERE
    with pytest.raises(ConfigError, match=HERE):
        keep(empty_database_url, record, OTHER)


def test_a_database_that_cannot_say_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    """C14: a database that cannot be read is an error; it is not taken for an empty one."""
    with pytest.raises(StoreError):
        keep_to_one_chain("postgresql://zmart@127.0.0.1:9/zmart", tmp_path / "chain", HERE)
    assert not (tmp_path / "chain").exists()
