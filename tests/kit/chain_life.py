"""Wallets that act on the local chain: the whole life of one market, or many trades."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets

from solders.keypair import Keypair

from kit.waiting import until
from zmart.chain import compose
from zmart.local.chain.genesis import fund

CID = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG"
SOL = 1_000_000_000
HOUR = 3_600


def name(keypair):
    return str(keypair.pubkey())


class Driver:
    """Builds, signs and sends the program's instructions, and waits until each transaction has landed."""

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

    async def life(self):
        """Take a market from its proposal to the last withdrawal, and cancel a second one in between.

        Return the first market's id and the key pairs of its two traders.
        """
        creator, alice, bob = [await self.wallet() for _ in range(3)]
        market = await self.open(creator, alice)
        trades = [
            (alice, True, 2 * SOL),
            (bob, False, SOL),
            (alice, False, SOL // 3),
            (bob, True, 123_456_789),
        ]
        await asyncio.gather(*(self.buy(user, market, outcome, amount) for user, outcome, amount in trades))
        fees, build = name(self.chain.keys.fees), self.build
        sale = build.sell_shares(
            name(alice), market, fees, outcome=True, shares_to_sell=SOL // 7, min_proceeds=0
        )
        await self.send(alice, sale)
        cancelled = await self.propose(creator)
        admin, backend = self.chain.keys.admin, self.chain.keys.backend
        await self.send(admin, build.cancel_market(name(admin), cancelled))
        await self.send(creator, build.withdraw_liquidity(name(creator), cancelled))
        await self.travel(25 * HOUR)
        resolved = build.resolve_market(name(bob), market, proposed_outcome=False, ipfs_evidence_hash=CID)
        await self.send(bob, resolved)
        await self.travel(25 * HOUR)
        await self.send(alice, build.initiate_dispute(name(alice), market))
        await self.send(alice, build.submit_dispute_vote(name(alice), market, True))
        await self.send(backend, build.finalize_market(name(backend), market, (3, 1)))
        await self.send(alice, build.claim_winnings(name(alice), market, name(bob)))
        await self.send(creator, build.withdraw_liquidity(name(creator), market))
        return market, alice, bob

    async def trade(self, number, seed):
        """Send `number` transactions on four new markets and wait until all have a status on chain.

        Most are purchases; the program refuses some. `seed` determines the traders, markets and amounts.
        """
        chance = random.Random(seed)
        people = [await self.wallet() for _ in range(6)]
        markets = [await self.open(people[0], people[1]) for _ in range(4)]
        gate, signatures = asyncio.Semaphore(12), []

        async def one():
            async with gate:
                latest = await self.rpc.get_latest_blockhash()
                user, market = chance.choice(people), chance.choice(markets)
                tx = compose.sign(
                    compose.compile(
                        user.pubkey(),
                        self._trades(chance, name(user), market),
                        latest.blockhash,
                        compute_unit_limit=500_000 + next(self.numbers),
                    ),
                    [user],
                )
                signatures.append(await self.rpc.send_raw_transaction(bytes(tx), skip_preflight=True))

        await asyncio.gather(*(one() for _ in range(number)))
        for start in range(0, number, 200):
            some = signatures[start : start + 200]

            async def landed(some=some):
                return None not in (await self.rpc.get_signature_statuses(some)).values

            await until(landed, within_s=60)

    def _trades(self, chance, user, market):
        fees, outcome = name(self.chain.keys.fees), chance.random() < 0.5
        buy = self.build.buy_shares(
            user, market, fees, outcome=outcome, target_cost=chance.randint(20_000, SOL // 20)
        )
        match chance.randint(0, 9):
            case 0:  # refused for most people
                return [
                    self.build.sell_shares(
                        user, market, fees, outcome=outcome, shares_to_sell=SOL // 50, min_proceeds=0
                    )
                ]
            case 1:
                return [buy, buy]
            case 2:
                sell = self.build.sell_shares(
                    user, market, fees, outcome=outcome, shares_to_sell=50_000, min_proceeds=0
                )
                return [buy, sell]
            case _:
                return [buy]
