"""The life of one market, from its proposal to the last claim: users' actions and their times, drawn from the seed."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from solders.instruction import Instruction
from solders.keypair import Keypair

from zmart.chain import compose
from zmart.chain.accounts import AccountInfo, MarketAccount
from zmart.market.types import MarketId, MarketState, VoteKind, Wallet

if TYPE_CHECKING:
    from simulation import Simulation

CID = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG"
SOL = 1_000_000_000
HOUR = 3_600.0
_LOOK_S = 900.0
_LAND_S = 120.0
_IN_VAIN_S = 12 * HOUR


def name(wallet: Keypair) -> Wallet:
    return Wallet(str(wallet.pubkey()))


class MarketLife:
    """One market's life; `run()` ends when the market is settled or rejected, or waits in vain for the backend."""

    def __init__(self, world: Simulation, number: int, chance: random.Random) -> None:
        self.world, self.chance, self.number = world, chance, number
        self.id = MarketId(chance.randbytes(32).hex())
        self.build = world.program.instructions
        self.address = world.program.addresses.market(self.id)
        self.creator = chance.choice(world.users)
        self.resolver = chance.choice(world.users)
        self.traders: list[Keypair] = []
        self.votes: list[asyncio.Task] = []
        self.done = False

    async def run(self) -> None:
        options, chance = self.world.options, self.chance
        await asyncio.sleep(chance.uniform(0, options.spread_h) * HOUR)
        if not await self._create():
            self.done = True
            return
        await self._vote(VoteKind.PROPOSAL, options.ttl_days * 24 * HOUR)
        if await self._until(MarketState.APPROVED, MarketState.CANCELLED, until_rejected=True):
            await self._send(self.creator, self.build.activate_market(name(self.creator), self.id))
            await self._trade()
            await self._resolve()
            await self._until(MarketState.FINALIZED, MarketState.CANCELLED)
            await self._settle()
        await asyncio.gather(*self.votes)
        self.done = True

    # --- the market's account

    def account(self) -> MarketAccount | None:
        self.world.chain.catch_up()
        result = self.world.chain.account(self.address)
        if result is None:
            return None
        info = AccountInfo(
            address=self.address, owner=str(result.owner), lamports=result.lamports, data=bytes(result.data)
        )
        return self.world.program.accounts.market(info)

    async def _until(self, *states: MarketState, until_rejected: bool = False) -> bool:
        """Wait for one of the states; return whether it is the first one.

        False also when the market is rejected (with `until_rejected`), or waits in vain after the faults.
        """
        while True:
            account = self.account()
            if account is not None and account.state in states:
                return account.state is states[0]
            if until_rejected and self.world.is_rejected(self.id):
                return False
            if self.world.faults_over and self._waits_in_vain(account):
                return False
            await asyncio.sleep(self.chance.uniform(0.5, 1.0) * _LOOK_S)

    def _waits_in_vain(self, account: MarketAccount | None) -> bool:
        """Return whether the state's deadline passed more than twelve hours ago; the checkers judge what is missing."""
        options = self.world.options
        if account is None:
            return True  # a fork took the proposal back, and no user proposes it again
        ends_at = {
            MarketState.PROPOSED: account.created_at + options.ttl_days * 24 * HOUR,
            MarketState.RESOLVING: account.resolution_proposed_at + 72 * HOUR,
            MarketState.DISPUTED: account.dispute_initiated_at + options.dispute_voting_hours * HOUR,
        }
        return self.world.clock.chain_time > ends_at.get(account.state, 0) + _IN_VAIN_S

    # --- actions of users

    async def _create(self) -> bool:
        make = self.build.create_market(
            name(self.creator),
            self.id,
            b_parameter=10 * SOL,
            initial_liquidity=7 * SOL,
            ipfs_question_hash=CID,
        )
        return await self._send(self.creator, make)

    async def _vote(self, kind: VoteKind, open_s: float) -> None:
        """Let some wallets vote at random times, by statement, on chain, or both; late ones vote near the end.

        `open_s` is how many seconds the vote is open.
        """
        options, chance = self.world.options, self.chance
        self.world.ring_in(open_s + 61)
        voters = chance.sample(self.world.users, chance.randint(1, len(self.world.users)))
        leanings = chance.choices([0.1, 0.5, 0.7, 0.8, 1.0], k=2)  # votes on chain may lean another way
        for voter in voters:
            late = chance.random() < options.late_share
            at = open_s + chance.uniform(-600, 90) if late else chance.uniform(1, open_s * chance.random())
            onchain = chance.random() < options.onchain_share
            both = chance.random() < 0.1
            vote = chance.random() < leanings[onchain]
            self.votes.append(asyncio.create_task(self._one_vote(kind, voter, vote, at, onchain or both)))
            if both or not onchain:
                other = chance.uniform(0, 300) if both else 0.0
                self.votes.append(asyncio.create_task(self._one_vote(kind, voter, vote, at + other, False)))

    async def _one_vote(
        self, kind: VoteKind, voter: Keypair, vote: bool, delay_s: float, onchain: bool
    ) -> None:
        await asyncio.sleep(delay_s)
        if onchain:
            proposal = kind is VoteKind.PROPOSAL
            make = self.build.submit_proposal_vote if proposal else self.build.submit_dispute_vote
            await self._send(voter, make(name(voter), self.id, vote))
            return
        for _ in range(3):  # a statement is sent again while the gateway does not answer
            refused = await self.world.vote_by_statement(self.id, kind, vote, voter)
            if refused is not None:
                self.world.note(f"statement {kind.value} {self.number} {vote} {refused[:60] or 'accepted'}")
                return
            await asyncio.sleep(20)

    async def _trade(self) -> None:
        chance, fees = self.chance, name(self.world.keys["fees"])
        for _ in range(self.world.options.trades):
            await asyncio.sleep(chance.uniform(1, 2 * HOUR))
            user, outcome = chance.choice(self.world.users), chance.random() < 0.5
            if user in self.traders and chance.random() < 0.3:
                made = self.build.sell_shares(
                    name(user),
                    self.id,
                    fees,
                    outcome=outcome,
                    shares_to_sell=chance.randint(1, SOL // 4),
                    min_proceeds=0,
                )
            else:
                cost = chance.randint(20_000, SOL)
                made = self.build.buy_shares(name(user), self.id, fees, outcome=outcome, target_cost=cost)
                self.traders.append(user)
            await self._send(user, made)

    async def _resolve(self) -> None:
        options, chance = self.world.options, self.chance
        while (account := self.account()) and account.state in (MarketState.APPROVED, MarketState.ACTIVE):
            if account.state is MarketState.APPROVED:  # a fork took the activation back
                await self._send(self.creator, self.build.activate_market(name(self.creator), self.id))
                continue
            wait_s = account.activated_at + 86_400 - self.world.clock.chain_time
            await asyncio.sleep(max(wait_s, 0) + chance.uniform(1, HOUR))
            resolve = self.build.resolve_market(
                name(self.resolver), self.id, proposed_outcome=chance.random() < 0.5, ipfs_evidence_hash=CID
            )
            await self._send(self.resolver, resolve)
        self.world.ring_in(72 * HOUR + 61)
        if chance.random() < options.dispute_share:
            await asyncio.sleep(chance.uniform(60, 40 * HOUR))
            initiator = chance.choice(self.world.users)
            await self._send(initiator, self.build.initiate_dispute(name(initiator), self.id))
            await self._vote(VoteKind.DISPUTE, options.dispute_voting_hours * HOUR)

    async def _settle(self) -> None:
        for user in dict.fromkeys(self.traders):
            await asyncio.sleep(self.chance.uniform(0, HOUR))
            await self._send(user, self.build.claim_winnings(name(user), self.id, name(self.resolver)))
        await self._send(self.creator, self.build.withdraw_liquidity(name(self.creator), self.id))

    async def _send(self, signer: Keypair, *instructions: Instruction) -> bool:
        """Sign and send up to four times until a transaction lands; return whether it landed without an error."""
        world = self.world
        for _ in range(4):
            blockhash = world.chain.blockhash(world.chain.slot)
            units = 400_000 + next(world.numbers)  # makes equal instructions different transactions
            message = compose.compile(
                signer.pubkey(), list(instructions), blockhash, compute_unit_limit=units
            )
            signature = world.submit(compose.sign(message, [signer]))
            until = world.clock.seconds + _LAND_S
            while world.clock.seconds < until:
                await asyncio.sleep(self.chance.uniform(1, 20))
                world.chain.catch_up()
                if (landed := world.chain.by_signature.get(signature)) is not None:
                    return landed.err is None
        return False
