"""What a service needs that acts for the backend on chain: database, RPC, program, keys, and the way to send once.

An effect is planned as an intent in the store; `carry_out` brings it to the chain. Whoever calls it has just
re-read the market's account.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import assert_never

import structlog
from solders.instruction import Instruction
from solders.keypair import Keypair

from zmart.chain import absence, compose, wallet
from zmart.chain.accounts import GlobalConfig, MarketAccount
from zmart.chain.config_check import check_program
from zmart.chain.judge import Attempt
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.chain.sender import AlreadyDone, Intent, Outcome, Sender, SendPolicy
from zmart.errors import ConfigError
from zmart.market.tally import Tally
from zmart.market.types import Lamports, MarketId, MarketState, Slot, Wallet
from zmart.settings import Settings
from zmart.store.intent_claims import Claims
from zmart.store.intents import Action, IntentRow
from zmart.store.pool import Pool

log = structlog.get_logger()

_OF_ADMIN = (Action.APPROVE_PROPOSAL, Action.CANCEL_MARKET)


@dataclass(frozen=True)
class Authority:
    """Open with `Authority.open`, close with `aclose`. `admin` is None where the service is not entrusted."""

    pool: Pool
    rpc: Rpc
    second_rpc: Rpc | None
    program: Program
    backend: Keypair
    admin: Keypair | None
    policy: SendPolicy
    claims: Claims | None = None
    """Where the locks of all its intents are; None: each on a connection of `pool` for as long as it takes."""

    @classmethod
    async def open(cls, settings: Settings) -> Authority:
        """Checks everything before anything runs. Raises ConfigError, one sentence for the first thing wrong."""
        if not settings.rpc_urls:
            raise ConfigError("No Solana RPC is set: put SOLANA_RPC_URL into .env or the environment.")
        backend, admin = wallet.backend_keypair(settings), wallet.admin_keypair(settings)
        program = Program.from_settings(settings)
        pool = await Pool.open(settings.require("database_url"), settings.database_pool_size, wait_s=30.0)
        claims = await Claims.open(settings.require("database_url"))
        first, *others = [Rpc([url], settings.rpc_timeout_s) for url in settings.rpc_urls]
        authority = cls(
            pool=pool,
            claims=claims,
            rpc=first,
            second_rpc=others[0] if others else None,
            program=program,
            backend=backend,
            admin=admin,
            policy=SendPolicy(max_priority_fee_lamports=Lamports(settings.max_priority_fee_lamports)),
        )
        try:
            await authority.check()
        except BaseException:
            await authority.aclose()
            raise
        return authority

    async def check(self) -> GlobalConfig:
        """GlobalConfig as it is now, if it still names our keys. Raises ConfigError, ChainError."""
        admin = self.admin.pubkey() if self.admin else None
        return await check_program(self.rpc, self.program, backend=self.backend.pubkey(), admin=admin)

    async def aclose(self) -> None:
        await self.rpc.aclose()
        if self.second_rpc is not None:
            await self.second_rpc.aclose()
        if self.claims is not None:
            await self.claims.close()
        await self.pool.close()

    @property
    def _rpcs(self) -> Sequence[Rpc]:
        return (self.rpc,) if self.second_rpc is None else (self.rpc, self.second_rpc)

    async def market(self, market_id: MarketId, since: Slot | None = None) -> MarketAccount:
        """The market's account as it is now, or at least as it was at slot `since`. Raises ConfigError when there
        is none."""
        address = self.program.addresses.market(market_id)
        info = await absence.account(self._rpcs, address, since)
        if info is None:
            raise ConfigError(f"Market {market_id} has no account at {address} on this cluster.")
        return self.program.accounts.market(info)

    async def carry_out(self, intent: IntentRow) -> Outcome | None:
        """Bring a planned effect to the chain, once, whoever else tries; None while another process does.

        Raises ChainError or StoreError when that could not be told; nothing is lost and it may be called again.
        """
        async with self._claims() as claims, claims.claim(intent.id) as claim:
            if claim is None:
                return None
            row = claim.intent
            if row.state.is_done:
                return AlreadyDone()
            sender = Sender(
                self.program,
                self.rpc,
                self.backend,
                claim.journal,
                second_rpc=self.second_rpc,
                policy=self.policy,
            )
            outcome = await sender.execute(self._intent(row))
            if isinstance(outcome, AlreadyDone):
                await claim.journal.mark_already_done(str(row.id))
        log.info(
            "intent carried out",
            market=row.market_id,
            action=row.action.value,
            round=row.round,
            outcome=outcome,
        )
        return outcome

    @asynccontextmanager
    async def _claims(self) -> AsyncIterator[Claims]:
        if self.claims is not None:
            yield self.claims
            return
        async with Claims(self.pool) as claims:
            yield claims

    def _intent(self, row: IntentRow) -> Intent:
        return Intent(
            id=str(row.id),
            instructions=self._instructions(row),
            signers=[self.admin] if row.action in _OF_ADMIN and self.admin else [],
            already_done=self._already_done(row),
            pending=_pending(row),
        )

    def _instructions(self, row: IntentRow) -> Callable[[], Awaitable[Sequence[Instruction]]]:
        async def build() -> Sequence[Instruction]:
            return instructions_of(row, self.program, self.backend, self.admin)

        return build

    def _already_done(self, row: IntentRow) -> Callable[[Slot | None], Awaitable[bool]]:
        async def look(since: Slot | None) -> bool:
            return shows_effect(await self.market(row.market_id, since), row)

        return look


def instructions_of(
    row: IntentRow, program: Program, backend: Keypair, admin: Keypair | None
) -> list[Instruction]:
    """The instructions of an effect, with its memo. Raises ConfigError for one that needs a key we lack."""
    build, us = program.instructions, Wallet(str(backend.pubkey()))
    notes = [compose.memo(str(row.arguments["memo"]), [backend.pubkey()])] if "memo" in row.arguments else []
    match row.action:
        case Action.AGGREGATE_PROPOSAL_VOTES:
            counts = (int(row.arguments["votes_for"]), int(row.arguments["votes_against"]))
            return [build.aggregate_proposal_votes(us, row.market_id, *counts), *notes]
        case Action.APPROVE_PROPOSAL | Action.CANCEL_MARKET:
            if admin is None:
                raise ConfigError(f"{row.action.value} needs the admin's key: set ADMIN_KEYPAIR_PATH.")
            approves = row.action is Action.APPROVE_PROPOSAL
            make = build.approve_proposal if approves else build.cancel_market
            return [make(Wallet(str(admin.pubkey())), row.market_id)]
        case Action.FINALIZE_MARKET:
            return [build.finalize_market(us, row.market_id, _dispute(row)), *notes]
    assert_never(row.action)


def shows_effect(account: MarketAccount, row: IntentRow) -> bool:
    """Whether the account shows what the intent wants, or has gone where it can no longer be wanted."""
    match row.action:
        case Action.AGGREGATE_PROPOSAL_VOTES:
            wanted = Tally(int(row.arguments["votes_for"]), int(row.arguments["votes_against"]))
            return account.state is not MarketState.PROPOSED or shown_proposal(account) == wanted
        case Action.APPROVE_PROPOSAL:
            return account.state is not MarketState.PROPOSED
        case Action.FINALIZE_MARKET:
            return account.state is MarketState.FINALIZED
        case Action.CANCEL_MARKET:
            return account.state is MarketState.CANCELLED
    assert_never(row.action)


def shown_proposal(account: MarketAccount) -> Tally:
    """The counts that the account records for its proposal."""
    return Tally(account.proposal_likes, account.proposal_dislikes)


def _dispute(row: IntentRow) -> tuple[int, int] | None:
    if "votes_for" not in row.arguments:
        return None
    return int(row.arguments["votes_for"]), int(row.arguments["votes_against"])


def _pending(row: IntentRow) -> Attempt | None:
    if not row.in_flight or row.signature is None or row.raw_transaction is None:
        return None
    assert row.last_valid_block_height is not None
    return Attempt(row.signature, row.raw_transaction, row.last_valid_block_height)
