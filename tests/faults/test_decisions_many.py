"""Thousands of markets are due at once: all are finalized, a broken one delays no other, the work grows linearly."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

import pytest

from kit import rows, scripted_chain
from kit.decisions import Scene
from kit.wallets import market_id
from zmart.chain.clock import CLOCK
from zmart.market.fold_state import MarketFold
from zmart.market.types import Address, ChainTime, MarketId, MarketState
from zmart.services.monitor.service import Monitor
from zmart.store import intents, market_work

DAY_S = 86_400


async def settle(scene: Scene, **settings: object) -> float:
    """Run one tick of the monitor with all its work; return the seconds that it took."""
    async with scene.context(**settings) as context:
        service, started = Monitor(scene.with_settings(**settings), context), time.monotonic()
        await service.finalize_due()
        await service.finish()
        return time.monotonic() - started


def waiting(market: MarketId, address: Address, since: int) -> MarketFold:
    """Return a market in RESOLVING whose outcome was proposed at the chain time `since`."""
    return rows.market_fold(market, "RESOLVING", address=address, resolution_proposed_at=since)


async def break_one(scene: Scene, since: int) -> MarketId:
    """Write a market that exists in the database but not on chain, and is due before all others; return its id."""
    broken = MarketId("ff" * 32)
    address = scene.chain.program.addresses.market(broken)
    await rows.add_markets(scene.pool, [waiting(broken, address, since - DAY_S)])
    return broken


async def check_broken(scene: Scene, broken: MarketId) -> None:
    (work,) = await market_work.of_market(scene.pool, broken)
    assert (work.status, work.attempts) == ("failing", 1)
    assert "no account" in str(work.last_error)


async def all_on_the_real_chain(scene: Scene, number: int) -> None:
    markets = await scene.many_resolving(number)
    await scene.travel(3 * DAY_S + 60)
    broken = await break_one(scene, (await scene.account(markets[0])).resolution_proposed_at)
    took_s = await settle(scene)
    states = await asyncio.gather(*map(scene.state, markets))
    assert set(states) == {MarketState.FINALIZED}
    events = await asyncio.gather(*map(scene.events, markets))
    assert {names.count("MarketFinalized") for names in events} == {1}
    await check_broken(scene, broken)
    print(f"\n{number} markets on the real chain in {took_s:.1f} s: {number / took_s:.0f}/s")


async def test_all_that_are_due_are_finalized_on_the_real_chain(scene: Scene) -> None:
    await all_on_the_real_chain(scene, 10)


@pytest.mark.slow
async def test_two_hundred_at_once_on_the_real_chain(scene: Scene) -> None:
    await all_on_the_real_chain(scene, 200)


class Played:
    """Copies of one real market in RESOLVING, on a simulated RPC (kit/scripted_chain.py)."""

    def __init__(self, scene: Scene, accounts: dict[str, dict[str, Any]], model: bytes, since: int) -> None:
        self.scene, self.accounts, self.model, self.since = scene, accounts, model, since

    @classmethod
    async def of(cls, scene: Scene) -> Played:
        market, program = await scene.resolving(), scene.chain.program
        since = (await scene.account(market)).resolution_proposed_at
        await scene.travel(3 * DAY_S + 60)
        info = await scene.rpc.get_account(program.addresses.market(market))
        assert info is not None
        accounts = {}
        for address in (program.address, program.addresses.global_config(), CLOCK):
            result = await scene.rpc.get_account(Address(address))
            assert result is not None
            data = base64.b64encode(result.data).decode()
            accounts[str(address)] = {
                "lamports": result.lamports,
                "owner": str(result.owner),
                "data": [data, "base64"],
                "executable": result.executable,
            }
        await scene.pool.execute("DELETE FROM markets")
        return cls(scene, accounts, info.data, since)

    async def finalize(self, number: int, *, start: int) -> tuple[float, int]:
        """Finalize `number` markets in one tick; return the seconds that it took and the number of requests to the RPC.

        The markets' ids count up from `start`.
        """
        ids = [MarketId(f"{start + n:064x}") for n in range(number)]
        addresses = [self.scene.chain.program.addresses.market(market) for market in ids]
        model = self.model
        markets = {
            str(address): model[:8] + bytes.fromhex(market) + model[40:]
            for market, address in zip(ids, addresses, strict=True)
        }
        await rows.add_markets(
            self.scene.pool,
            [waiting(market, address, self.since) for market, address in zip(ids, addresses, strict=True)],
        )
        await self.scene.pool.execute("ANALYZE markets")
        now = scripted_chain.time_of(self.accounts[str(CLOCK)])
        with scripted_chain.playing(self.accounts, markets, now) as url:
            took_s = await settle(self.scene, solana_rpc_url=url)
            async with self.scene.context(solana_rpc_url=url) as context:
                end = await context.rpc.call("the_end")
        assert isinstance(end, dict)
        assert len(end["landed"]) == number
        assert set(end["landed"].values()) == {1}
        sound = "SELECT count(*) FROM intents WHERE state = 'landed' AND market_id = ANY($1)"
        assert await self.scene.pool.fetchval(sound, ids) == number
        await self.scene.pool.execute(
            "UPDATE markets SET state = 'FINALIZED', final_outcome = 'yes' WHERE market_id = ANY($1)", ids
        )
        return took_s, end["calls"]


async def many(scene: Scene, few: int, number: int) -> None:
    played = await Played.of(scene)
    broken = await break_one(scene, played.since)
    first_s, first_calls = await played.finalize(few, start=1)
    await check_broken(scene, broken)
    all_s, all_calls = await played.finalize(number, start=10**6)
    per_market = (first_calls / few, all_calls / number)
    assert per_market[1] <= per_market[0] * 1.1, "requests per market do not grow"
    growth = (all_s / number) / (first_s / few)
    print(
        f"\n{few} markets in {first_s:.1f} s, {number} in {all_s:.1f} s: {number / all_s:.0f}/s, "
        f"{per_market[1]:.1f} requests each, time per market x{growth:.2f}"
    )
    assert growth < 2 or number < 1_000, "a few are too few to tell"
    assert all_s < 330, "lateness under one tick and 30 s"


async def test_sixty_due_at_once_are_finalized_beside_a_broken_one(scene: Scene) -> None:
    await many(scene, 20, 60)


@pytest.mark.slow
async def test_five_thousand_due_at_once_are_finalized_beside_a_broken_one(scene: Scene) -> None:
    await many(scene, 500, 5_000)


async def explained(scene: Scene, sql: str, *arguments: object) -> str:
    return "\n".join(row[0] for row in await scene.pool.fetch(f"EXPLAIN {sql}", *arguments))


_VOTES = """
INSERT INTO vote_counts (market_id, kind, votes_for, votes_against)
SELECT market_id, kind, 5, 1 FROM markets, unnest(ARRAY['proposal', 'dispute']) AS kind
"""
_INTENTS = """
INSERT INTO intents (market_id, action, state) SELECT market_id, 'finalize_market', 'landed' FROM markets
"""


_OPEN = {0: "RESOLVING", 1: "PROPOSED", 2: "DISPUTED"}


def _market(number: int) -> MarketFold:
    state = _OPEN.get(number % 200, "FINALIZED")
    return rows.market_fold(market_id(number), state, address=f"{number:x>40}", resolution_proposed_at=number)


async def test_what_a_tick_asks_is_found_by_indexes(scene: Scene) -> None:
    """There are 40,000 markets, 600 of them open: no plan of a statement reads all markets."""
    async with scene.pool.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")  # no feed messages
        await rows.add_markets(connection, [_market(n) for n in range(1, 40_001)])
        for sql in (_VOTES, _INTENTS):
            await connection.execute(sql)
    await scene.pool.execute("ANALYZE markets, vote_counts, intents, market_work")
    queries = {
        "proposals": (market_work._PROPOSALS, (0, 1, 7_000, 100, None)),
        "finalizations": (market_work._FINALIZATIONS, (5_000, 5_000, 100)),
        "pending": (market_work._PENDING, ()),
        "open counts": (market_work._OPEN_COUNTS, ()),
        "stuck": (market_work._STUCK, (5_000, 100)),
    }
    for name, (sql, arguments) in queries.items():
        plan = await explained(scene, sql, *arguments)
        assert "Seq Scan on markets" not in plan, f"{name}: {plan}"
        assert "Seq Scan on vote_counts" not in plan, f"{name}: {plan}"
    plan = await explained(scene, intents._OPEN, ["finalize_market"], 3.0, 100)
    assert "intents_open" in plan, plan
    due = await market_work.finalizations_due(scene.pool, ChainTime(10_000), ChainTime(10_000))
    assert len(due) == 50
