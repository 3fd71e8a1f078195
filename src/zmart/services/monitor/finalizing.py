"""Finalizes markets whose time is over: undisputed ones as proposed, disputed ones by their votes.

Owner of every finalize_market: nobody else plans one. The dispute's tally is taken here, in the transaction that
plans its intent, at the moment when it is due.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from zmart.chain.accounts import GlobalConfig, MarketAccount
from zmart.market.types import ChainTime, MarketId, MarketState, VoteKind
from zmart.proofs.tallying import count_log, memo_of, record
from zmart.services.authority import Authority
from zmart.services.effects import bring_about
from zmart.services.monitor import metrics
from zmart.services.workers import waits
from zmart.settings import Settings
from zmart.store import intents, market_work, tallies
from zmart.store.intents import Action, IntentRow
from zmart.store.market_work import Job
from zmart.store.tallies import TallyRow

_HOUR_S = 3_600
_UNDISPUTED_ROUND = 0
log = structlog.get_logger()


@dataclass(frozen=True)
class Waits:
    """How long a market waits, in seconds of chain time, from the proposed resolution or from the dispute."""

    resolution_s: int
    dispute_s: int

    @classmethod
    def of(cls, settings: Settings, config: GlobalConfig) -> Waits:
        """Our own policy, but never less than the program demands."""
        window_s = max(settings.dispute_window_hours * _HOUR_S, config.dispute_period)
        voting_s = settings.dispute_voting_hours * _HOUR_S
        return cls(window_s + settings.finalize_safety_s, voting_s + settings.finalize_safety_s)

    def due_at(self, account: MarketAccount) -> ChainTime:
        """When a market in RESOLVING or DISPUTED may be finalized."""
        if account.state is MarketState.DISPUTED:
            return ChainTime(account.dispute_initiated_at + self.dispute_s)
        return ChainTime(account.resolution_proposed_at + self.resolution_s)


@dataclass(frozen=True)
class Finalizing:
    """How a tick finalizes: by the chain's time and GlobalConfig of that moment."""

    authority: Authority
    waits: Waits
    config: GlobalConfig
    now: ChainTime

    async def settle(self, market_id: MarketId) -> None:
        """Finalize one market if its account says that it is due. Raises ChainError, ProgramError, StoreError."""
        account = await self.authority.market(market_id)
        if account.state is MarketState.RESOLVING and account.was_disputed:
            await self._never_by_itself(market_id)
        elif account.state is MarketState.RESOLVING and self.now >= self.waits.due_at(account):
            intent = await intents.plan(
                self.authority.pool, market_id, Action.FINALIZE_MARKET, _UNDISPUTED_ROUND, {}
            )
            await self._finalize(account, intent, Job.FINALIZE)
        elif account.state is MarketState.DISPUTED and self.now >= self.waits.due_at(account):
            settling = await self._dispute_intent(market_id)
            if settling is None:
                await self._no_votes(market_id)
            else:
                await self._finalize(account, settling, Job.DISPUTE)

    async def _finalize(self, account: MarketAccount, intent: IntentRow, job: Job) -> None:
        if not await bring_about(self.authority, intent):
            return
        await market_work.done(self.authority.pool, account.market_id, job)
        after = await self.authority.market(account.market_id)
        if after.state is MarketState.FINALIZED:
            late_s = after.finalized_at - self.waits.due_at(account)
            metrics.lateness_seconds.observe(late_s)
            metrics.finalized.labels(job.value).inc()
            log.info("market finalized", market=account.market_id, outcome=after.final_outcome, late_s=late_s)

    async def _dispute_intent(self, market_id: MarketId) -> IntentRow | None:
        """The intent that settles the dispute; its tally is taken once, now or by an earlier try. None without
        a vote: then nothing is written, and voting goes on."""
        pool, threshold = self.authority.pool, self.config.dispute_success_threshold
        async with pool.transaction() as connection:
            counted = await count_log(connection, self.authority.program.address, market_id, VoteKind.DISPUTE)
            row = await tallies.latest(connection, market_id, VoteKind.DISPUTE)
            if row is None and counted.tally.total == 0:
                return None
            row = row or await record(connection, counted, threshold)
            return await intents.plan(
                connection, market_id, Action.FINALIZE_MARKET, row.round, _arguments(row)
            )

    async def _no_votes(self, market_id: MarketId) -> None:
        message = (
            f"The dispute of market {market_id} is over its time and nobody voted: the program cannot settle it "
            "without a vote. It stays DISPUTED; a vote, on chain or here, lets it go on."
        )
        await waits(self.authority.pool, market_id, Job.DISPUTE, "no votes", "warning", message)

    async def _never_by_itself(self, market_id: MarketId) -> None:
        message = (
            f"Market {market_id} is back in RESOLVING after a dispute (aggregate_dispute_votes): finalizing it "
            "would confirm the outcome that the votes refused. A person must decide."
        )
        await waits(self.authority.pool, market_id, Job.FINALIZE, "needs a person", "critical", message)


def _arguments(row: TallyRow) -> dict[str, int | str]:
    return {"votes_for": row.tally.votes_for, "votes_against": row.tally.votes_against, "memo": memo_of(row)}
