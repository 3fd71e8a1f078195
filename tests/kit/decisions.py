"""Markets on the local chain for the tests of decisions, with the rows that the indexer would write."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.system_program import TransferParams, transfer

from kit import commands, rows
from kit.votes import (
    add_market,
    complete_index,
    vote_signed,
)
from kit.waiting import until
from kit.wallets import address_of
from zmart.chain.accounts import MarketAccount
from zmart.chain.compose import MEMO_PROGRAM
from zmart.chain.event_extraction import extract_events
from zmart.chain.rpc import Rpc
from zmart.chain.transactions import ChainTransaction, parse_transaction
from zmart.decisions.context import DecisionContext
from zmart.local.chain.genesis import fund, send
from zmart.market.events import DisputeVoteSubmitted, ProposalVoteSubmitted, SharesBought, SharesSold
from zmart.market.fold_state import FoldedVote
from zmart.market.types import Lamports, MarketId, MarketState, Shares, Side, VoteKind
from zmart.settings import Settings
from zmart.store.pool import Pool
from zmart.votes.casting import AcceptedVote

if TYPE_CHECKING:
    from kit.servers import LocalChain

Result = TypeVar("Result")
QUESTION = "Qm" + "a" * 44


@dataclass
class Scene:
    """A database, a local chain and a backend; wallets create markets and change their state by transactions."""

    chain: LocalChain
    rpc: Rpc
    pool: Pool
    settings: Settings
    creator: Keypair

    @classmethod
    @asynccontextmanager
    async def open(cls, chain: LocalChain, database_url: str, **settings: object) -> AsyncIterator[Scene]:
        values = {
            "zmart_env": "local",
            "solana_rpc_url": chain.rpc_url,
            "database_url": database_url,
            "backend_keypair_path": chain.keys.path("backend"),
            "admin_keypair_path": chain.keys.path("admin"),
            "min_proposal_votes": 1,
        }
        pool = await Pool.open(database_url, size=4, wait_s=30)
        await complete_index(pool, chain.program.address)  # no indexer runs: this class writes the rows
        async with Rpc([chain.rpc_url]) as rpc:
            creator = Keypair()
            await fund(rpc, address_of(creator), Lamports(10**12))
            yield cls(chain, rpc, pool, Settings(_env_file=None, **(values | settings)), creator)
        await pool.close()

    def with_settings(self, **changes: object) -> Settings:
        return self.settings.model_copy(update=changes)

    async def now(self) -> int:
        return (await self.rpc.get_clock()).unix_timestamp

    async def travel(self, seconds: int) -> None:
        target = await self.now() + seconds
        await self.rpc.call("surfnet_timeTravel", [{"absoluteTimestamp": target * 1000}])
        await until(self.now, lambda now: now >= target)

    async def send(self, instructions: list[Instruction], *signers: Keypair) -> None:
        await send(self.rpc, instructions, list(signers))

    async def market(self) -> MarketId:
        """Create a market in PROPOSED, on chain and in the database; return its id."""
        market_id = MarketId(secrets.token_hex(32))
        make = self.chain.program.instructions.create_market(
            address_of(self.creator),
            market_id,
            b_parameter=Shares(10**9),
            initial_liquidity=Lamports(10**9),
            ipfs_question_hash=QUESTION,
        )
        await self.send([make], self.creator)
        account = await self.account(market_id)
        address = self.chain.program.addresses.market(market_id)
        created_at = datetime.fromtimestamp(account.created_at, UTC)
        await add_market(self.pool, market_id, address=address, created_at=created_at)
        return market_id

    async def active(self) -> MarketId:
        """Create a market that is open for trading (ACTIVE); return its id."""
        market_id = await self.market()
        await self._activate(market_id)
        await self.index(market_id)
        return market_id

    async def rich(self) -> Keypair:
        """Return a new wallet with 10 SOL."""
        keypair = Keypair()
        await fund(self.rpc, address_of(keypair), Lamports(10**10))
        return keypair

    async def pay(self, payer: Keypair, to: Keypair, lamports: int) -> None:
        """Transfer lamports between wallets by a transaction; `fund` gives lamports without a transfer."""
        amounts = TransferParams(from_pubkey=payer.pubkey(), to_pubkey=to.pubkey(), lamports=lamports)
        await self.send([transfer(amounts)], payer)

    async def buy(self, market_id: MarketId, user: Keypair, lamports: int) -> int:
        """Buy YES for at most `lamports`; return the lamports that were paid, from the SharesBought event."""
        fees = address_of(self.chain.keys.fees)
        make = self.chain.program.instructions.buy_shares
        await self.send(
            [make(address_of(user), market_id, fees, outcome=True, target_cost=Lamports(lamports))], user
        )
        return await self._traded(market_id, user)

    async def sell(self, market_id: MarketId, user: Keypair, shares: int) -> int:
        """Sell `shares` of YES; return the lamports that were received, from the SharesSold event."""
        fees = address_of(self.chain.keys.fees)
        sale = self.chain.program.instructions.sell_shares(
            address_of(user),
            market_id,
            fees,
            outcome=True,
            shares_to_sell=Shares(shares),
            min_proceeds=Lamports(0),
        )
        await self.send([sale], user)
        return await self._traded(market_id, user)

    async def _traded(self, market_id: MarketId, user: Keypair) -> int:
        """Write the row of the market's newest trade as the indexer would; return the trade's lamports."""
        tx = (await self.transactions(market_id))[-1]
        item = extract_events(self.chain.program, tx).events[-1]
        event = item.event
        assert isinstance(event, SharesBought | SharesSold)
        lamports = event.cost if isinstance(event, SharesBought) else event.proceeds
        trade = rows.trade_fold(
            market_id, address_of(user), signature=tx.signature, slot=tx.slot, cost_lamports=lamports,
            side=Side.BUY if isinstance(event, SharesBought) else Side.SELL, traded_at=event.timestamp,
        )  # fmt: skip
        await rows.add_trades(self.pool, [trade])
        return lamports

    async def resolving(self) -> MarketId:
        """Create a market and take it to RESOLVING, with YES proposed; return its id."""
        return (await self.many_resolving(1))[0]

    async def many_resolving(self, number: int) -> list[MarketId]:
        markets = await _some_at_once([self.market() for _ in range(number)])
        await _some_at_once([self._activate(market_id) for market_id in markets])
        await self.travel(86_401)
        await _some_at_once([self.resolve(market_id) for market_id in markets])
        return markets

    async def disputed(self) -> MarketId:
        market_id = await self.resolving()
        await self.dispute([market_id])
        return market_id

    async def dispute(self, markets: list[MarketId]) -> None:
        """Take markets from RESOLVING to DISPUTED."""
        await self.travel(2)
        await _some_at_once([self._dispute(market_id) for market_id in markets])

    async def _activate(self, market_id: MarketId) -> None:
        build, keys = self.chain.program.instructions, self.chain.keys
        steps = [
            build.aggregate_proposal_votes(address_of(keys.backend), market_id, 1, 0),
            build.approve_proposal(address_of(keys.admin), market_id),
            build.activate_market(address_of(self.creator), market_id),
        ]
        await self.send(steps, self.creator, keys.backend, keys.admin)

    async def resolve(self, market_id: MarketId) -> None:
        """Propose YES for an ACTIVE market; the program accepts it from a day after the activation."""
        resolve = self.chain.program.instructions.resolve_market(
            address_of(self.creator), market_id, proposed_outcome=True, ipfs_evidence_hash=QUESTION
        )
        await self.send([resolve], self.creator)
        await self.index(market_id)

    async def _dispute(self, market_id: MarketId) -> None:
        dispute = self.chain.program.instructions.initiate_dispute(address_of(self.creator), market_id)
        await self.send([dispute], self.creator)
        await self.index(market_id)

    async def index(self, market_id: MarketId) -> None:
        """Copy state, times and outcome of the market's account into its row, as the indexer would."""
        account = await self.account(market_id)
        await rows.change_market(
            self.pool,
            market_id,
            state=account.state,
            resolution_proposed_at=account.resolution_proposed_at,
            dispute_initiated_at=account.dispute_initiated_at,
            was_disputed=account.was_disputed,
            final_outcome=account.final_outcome,
        )

    async def index_votes(self, market_id: MarketId) -> None:
        """Write the market's votes that were cast on chain into `onchain_votes`, as the indexer would."""
        for tx in await self.transactions(market_id):
            for item in extract_events(self.chain.program, tx).events:
                if isinstance(item.event, ProposalVoteSubmitted | DisputeVoteSubmitted):
                    of_proposal = isinstance(item.event, ProposalVoteSubmitted)
                    kind = VoteKind.PROPOSAL if of_proposal else VoteKind.DISPUTE
                    cast = FoldedVote(
                        market_id=market_id, kind=kind, wallet=item.event.user, vote=item.event.vote,
                        signature=tx.signature, slot=tx.slot, voted_at=item.event.timestamp,
                    )  # fmt: skip
                    await rows.add_onchain_vote(self.pool, cast)

    async def account(self, market_id: MarketId) -> MarketAccount:
        info = await self.rpc.get_account(self.chain.program.addresses.market(market_id))
        assert info is not None
        return self.chain.program.accounts.market(info)

    async def state(self, market_id: MarketId) -> MarketState:
        return (await self.account(market_id)).state

    async def vote(
        self,
        market_id: MarketId,
        yes: int,
        no: int = 0,
        kind: VoteKind = VoteKind.PROPOSAL,
        start: int = 1_000,
    ) -> list[AcceptedVote]:
        """Accept signed votes of `yes` + `no` wallets, the first `yes` of them in favour; return the votes.

        Seeds of the wallets count up from `start`.
        """
        program, authority = self.chain.program.address, self.chain.keys.backend
        return [
            await vote_signed(
                self.pool, market_id, voter, n < yes, kind, datetime.now(UTC), program, authority
            )
            for n in range(yes + no)
            for voter in [Keypair.from_seed((start + n).to_bytes(32, "big"))]
        ]

    async def transactions(self, market_id: MarketId) -> list[ChainTransaction]:
        """Return the successful transactions that name the market's account, oldest first."""
        address = self.chain.program.addresses.market(market_id)
        result = []
        for line in reversed(await self.rpc.get_signatures_for_address(address)):
            if line.err is None:
                raw = await self.rpc.get_transaction_json(line.signature)
                assert raw is not None
                result.append(parse_transaction(raw))
        return result

    async def events(self, market_id: MarketId) -> list[str]:
        """Return the names of the program's events in the market's transactions, oldest first."""
        result = [extract_events(self.chain.program, tx) for tx in await self.transactions(market_id)]
        return [type(item.event).__name__ for extracted in result for item in extracted.events]

    async def memos(self, market_id: MarketId) -> list[str]:
        return [
            instruction.data.decode()
            for tx in await self.transactions(market_id)
            for instruction in tx.instructions
            if instruction.program_id == str(MEMO_PROGRAM)
        ]

    @asynccontextmanager
    async def context(self, **changes: object) -> AsyncIterator[DecisionContext]:
        context = await DecisionContext.open(self.with_settings(**changes))
        try:
            yield context
        finally:
            await context.aclose()


async def zmart(scene: Scene, *arguments: str) -> tuple[int, str]:
    """Run the `zmart` command with the scene's settings; return its exit status and its output (stdout and stderr)."""
    settings = scene.settings
    env = commands.environment(
        database_url=settings.require("database_url"),
        solana_rpc_url=settings.solana_rpc_url,
        backend_keypair_path=settings.backend_keypair_path,
        admin_keypair_path=settings.admin_keypair_path,
        min_proposal_votes=1,
        public_api_url="http://127.0.0.1:1",
    )
    status, out, err = await commands.run(*arguments, env=env)
    return status, out + err


async def _some_at_once(work: list[Coroutine[None, None, Result]], at_once: int = 16) -> list[Result]:
    permits = asyncio.Semaphore(at_once)

    async def one(item: Coroutine[None, None, Result]) -> Result:
        async with permits:
            return await item

    return await asyncio.gather(*map(one, work))
