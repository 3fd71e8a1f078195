"""Tests that a quote is what the program then charges, to the lamport.

tests/faults has a longer run of the same check.
"""

from __future__ import annotations

from kit.chain_life import Driver
from kit.gateway import site
from kit.quoted_trades import trade_much
from zmart.chain.rpc import Rpc


async def test_every_quote_is_what_the_program_charged(
    database_url: str, redis_url: str, local_chain
) -> None:
    async with (
        site(database_url, redis_url, solana_rpc_url=local_chain.rpc_url, rate_limit_writes=10**6) as here,
        Rpc([local_chain.rpc_url]) as rpc,
    ):
        await trade_much(Driver(local_chain, rpc), here, 60, seed=1)
