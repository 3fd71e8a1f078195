"""The indexer against the real program on the real chain: what it folds is what the accounts hold."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import sys

import pytest
from solders.keypair import Keypair

from indexer_harness import tables, until
from zmart.chain import compose
from zmart.chain.rpc import Rpc
from zmart.local.chain.genesis import fund
from zmart.services.indexer.audit import audit
from zmart.services.indexer.rebuild import rebuild
from zmart.services.indexer.service import Indexer
from zmart.settings import Settings

CID = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG"
SOL = 1_000_000_000
HOUR = 3_600


def name(keypair):
    return str(keypair.pubkey())


class Driver:
    """Sends instructions of the program."""

    def __init__(self, chain, rpc):
        self.chain, self.rpc, self.build = chain, rpc, chain.program.instructions
        self.numbers = itertools.count()

    async def wallet(self):
        keypair = Keypair()
        await fund(self.rpc, name(keypair), 1_000 * SOL)
        return keypair

    async def send(self, signer, *instructions):
        latest = await self.rpc.get_latest_blockhash()
        limit = 500_000 + next(self.numbers)
        tx = compose.sign(
            compose.compile(signer.pubkey(), instructions, latest.blockhash, compute_unit_limit=limit),
            [signer],
        )
        signature = await self.rpc.send_raw_transaction(bytes(tx))

        async def landed():
            [status] = (await self.rpc.get_signature_statuses([signature])).values
            assert status is None or status.err is None, status
            return status is not None

        await until(landed)

    async def travel(self, seconds):
        clock = await self.rpc.get_clock()
        await self.rpc.call(
            "surfnet_timeTravel", [{"absoluteTimestamp": (clock.unix_timestamp + seconds) * 1000}]
        )

    async def buy(self, user, market_id, outcome, lamports):
        fees = name(self.chain.keys.fees)
        await self.send(
            user, self.build.buy_shares(name(user), market_id, fees, outcome=outcome, target_cost=lamports)
        )

    async def propose(self, creator):
        market_id = secrets.token_hex(32)
        await self.send(
            creator,
            self.build.create_market(
                name(creator),
                market_id,
                b_parameter=10 * SOL,
                initial_liquidity=7 * SOL,
                ipfs_question_hash=CID,
            ),
        )
        return market_id

    async def open(self, creator, voter):
        market_id = await self.propose(creator)
        admin, backend = self.chain.keys.admin, self.chain.keys.backend
        await self.send(voter, self.build.submit_proposal_vote(name(voter), market_id, True))
        await self.send(
            backend, self.build.aggregate_proposal_votes(name(backend), market_id, likes=1, dislikes=0)
        )
        await self.send(
            admin,
            self.build.approve_proposal(name(admin), market_id),
            self.build.activate_market(name(admin), market_id),
        )
        return market_id


@pytest.fixture
async def running(local_chain, database_url):
    """The service as `zmart run` would run it, reading the local chain."""
    settings = Settings(
        _env_file=None,
        zmart_env="local",
        database_url=database_url,
        solana_rpc_url=local_chain.rpc_url,
        solana_ws_url=local_chain.ws_url,
        indexer_scan_interval_s=0.3,
    )
    indexer = await Indexer.open(settings)
    stop = asyncio.Event()
    task = asyncio.create_task(indexer.run(stop))
    yield indexer
    stop.set()
    async with asyncio.timeout(10):
        await task


async def test_a_whole_life_on_chain_is_folded_to_the_lamport(local_chain, database_url, running):
    engine = running._engine
    async with Rpc([local_chain.rpc_url]) as rpc:
        driver = Driver(local_chain, rpc)
        creator, alice, bob = [await driver.wallet() for _ in range(3)]
        market = await driver.open(creator, alice)
        trades = [
            (alice, True, 2 * SOL),
            (bob, False, SOL),
            (alice, False, SOL // 3),
            (bob, True, 123_456_789),
        ]
        await asyncio.gather(*(driver.buy(user, market, outcome, amount) for user, outcome, amount in trades))
        held = 0

        async def bought():
            nonlocal held
            held = await engine.pool.fetchval(
                "SELECT shares_yes FROM positions WHERE wallet = $1 AND market_id = $2", name(alice), market
            )
            return bool(held)

        await until(bought)
        fees, build = name(local_chain.keys.fees), driver.build
        await driver.send(
            alice,
            build.sell_shares(
                name(alice), market, fees, outcome=True, shares_to_sell=held // 3, min_proceeds=0
            ),
        )
        cancelled = await driver.propose(creator)
        admin, backend = local_chain.keys.admin, local_chain.keys.backend
        await driver.send(admin, build.cancel_market(name(admin), cancelled))
        await driver.send(creator, build.withdraw_liquidity(name(creator), cancelled))
        await driver.travel(25 * HOUR)
        await driver.send(
            bob,
            build.resolve_market(name(bob), market, proposed_outcome=False, ipfs_evidence_hash=CID),
        )
        await driver.travel(25 * HOUR)
        await driver.send(alice, build.initiate_dispute(name(alice), market))
        await driver.send(alice, build.submit_dispute_vote(name(alice), market, True))
        await driver.send(backend, build.finalize_market(name(backend), market, (3, 1)))
        await driver.send(alice, build.claim_winnings(name(alice), market, name(bob)))
        await driver.send(creator, build.withdraw_liquidity(name(creator), market))

        async def caught_up():
            state = await engine.pool.fetchval(
                "SELECT accumulated_lp_fees FROM markets WHERE market_id = $1 AND state = 'FINALIZED'", market
            )
            return state == 0 and (await running.readiness()).ready

        await until(caught_up, why=running.readiness)
        report = await audit(engine.pool, rpc, local_chain.program)
        assert report.differences == []
        assert report.markets >= 2
        assert report.positions >= 2
        row = await engine.pool.fetchrow(
            "SELECT final_outcome, was_disputed, dispute_agree, dispute_disagree, question_cid, traders "
            "FROM markets WHERE market_id = $1",
            market,
        )
        assert tuple(row) == (True, True, 3, 1, CID, 2)
        before = await tables(database_url)
        await rebuild(engine.pool, engine.folder)
        assert await tables(database_url) == before
        assert (await running.readiness()).details["dead_letters"] == 0


async def test_an_audit_names_what_differs(local_chain, database_url, running):
    engine = running._engine
    async with Rpc([local_chain.rpc_url]) as rpc:
        driver = Driver(local_chain, rpc)
        creator = await driver.wallet()
        market = await driver.propose(creator)

        async def indexed():
            return await engine.pool.fetchval("SELECT true FROM markets WHERE market_id = $1", market)

        await until(indexed)
        await engine.pool.execute(
            "UPDATE markets SET current_liquidity = current_liquidity - 1 WHERE market_id = $1", market
        )
        report = await audit(engine.pool, rpc, local_chain.program)
    audited = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from zmart.cli import main; main()",
        "indexer",
        "audit",
        env={
            **os.environ,
            "ZMART_ENV_FILE": os.devnull,
            "DATABASE_URL": database_url,
            "SOLANA_RPC_URL": local_chain.rpc_url,
        },
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await audited.communicate()
    assert audited.returncode == 1
    assert "current_liquidity is 6999999999 here and 7000000000 on chain" in out.decode()
    [difference] = report.differences
    assert (difference.field, difference.index, difference.chain) == (
        "current_liquidity",
        7 * SOL - 1,
        7 * SOL,
    )
