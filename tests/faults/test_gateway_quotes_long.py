"""A thousand random trades: the program charges exactly what each quote said."""

from __future__ import annotations

import pytest

from kit.chain_life import Driver
from kit.gateway import site
from kit.quoted_trades import trade_much
from zmart.chain.rpc import Rpc


@pytest.mark.slow
async def test_a_thousand_quotes_are_what_the_program_charged(
    database_url: str, redis_url: str, local_chain
) -> None:
    async with (
        site(database_url, redis_url, solana_rpc_url=local_chain.rpc_url, rate_limit_writes=10**6) as here,
        Rpc([local_chain.rpc_url]) as rpc,
    ):
        await trade_much(Driver(local_chain, rpc), here, 1_000, seed=20261124, markets=8)
