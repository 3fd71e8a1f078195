"""Decide who may vote, by the rules in the settings, which are fixed for each vote.

The facts come from the index (trades), from the chain (the lamports that a wallet held) and from signed lists. The
facts by which a wallet was judged are stored, so that a count of 100,000 votes needs no call to the RPC. The rules
themselves and the judgement are pure: market/eligibility.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.chain.wallet_history import held_before
from zmart.chain.whole_answers import first_sufficient
from zmart.errors import ChainError, EligibilityUnknown, NotEligible
from zmart.market.eligibility import (
    Eligibility,
    Judgement,
    Rule,
    RuleKind,
    VoteOpening,
    VoterFacts,
    judge,
)
from zmart.market.types import Lamports, MarketId, VoteKind, Wallet
from zmart.settings import Settings
from zmart.store import vote_judgements, vote_rules
from zmart.store.pool import Pool
from zmart.store.vote_judgements import VoterJudgement
from zmart.store.vote_rules import VotingTerms
from zmart.votes.admission import Admission
from zmart.votes.completeness import require_complete
from zmart.votes.held_facts import ShareReading, read_now
from zmart.votes.lists import ListFetches, which_are_listed

_AT_ONCE = 8
_BATCH = 5_000
_NAMED = 3


def terms_of(settings: Settings, kind: VoteKind) -> VotingTerms:
    """Return the terms that the settings define for votes of a kind whose terms are not fixed yet."""
    if kind is VoteKind.PROPOSAL:
        return VotingTerms(Rule.of_setting(settings.vote_rule_proposals), settings.min_proposal_votes)
    return VotingTerms(Rule.of_setting(settings.vote_rule_disputes), settings.min_dispute_votes)


@dataclass(frozen=True)
class Voters:
    """Judge whether wallets may vote. `rpcs` has one client for each endpoint; without one no wallet can be judged by
    the rule `funded`. `share` reads what a wallet held, or takes it from an earlier reading.

    A process has one instance, which shares the fetches of voter lists; `aclose` ends them."""

    pool: Pool
    program: Program
    rpcs: Sequence[Rpc]
    settings: Settings
    share: ShareReading = read_now
    lists: ListFetches = field(default_factory=ListFetches)

    async def finish(self) -> None:
        """Wait until the fetches of voter lists in progress have ended: the next run has the lists."""
        await self.lists.finish()

    async def aclose(self) -> None:
        """End the fetches of voter lists. Call this before the pool is closed."""
        await self.lists.aclose()

    async def terms(self, market_id: MarketId, kind: VoteKind) -> VotingTerms:
        """Return the rule and the minimum number of votes of this vote; fix them now unless they are fixed."""
        fixed = await vote_rules.find(self.pool, market_id, kind)
        return fixed or await vote_rules.fix(self.pool, market_id, kind, terms_of(self.settings, kind))

    async def admit(self, market_id: MarketId, kind: VoteKind, wallet: Wallet) -> Admission:
        """Return the wallet's admission to a vote.

        Raises NotEligible if the wallet may not vote; EligibilityUnknown or IndexIncomplete if that is not known now.
        """
        rule = (await self.terms(market_id, kind)).rule
        if rule.kind is RuleKind.OPEN:
            return Admission(rule)
        opening = await self._opening(market_id, kind)
        facts = (await self._facts(rule, opening, [wallet]))[wallet]
        judgement = judge(rule, facts)
        if judgement.eligibility is Eligibility.NOT_ELIGIBLE and rule.kind is RuleKind.STAKED:
            await require_complete(self.pool, self.program.address, market_id, opening.at)
            facts = (await self._facts(rule, opening, [wallet]))[wallet]
            judgement = judge(rule, facts)
        match judgement.eligibility:
            case Eligibility.UNKNOWN:
                raise EligibilityUnknown(judgement.reason)
            case Eligibility.NOT_ELIGIBLE:
                raise NotEligible(rule.sentence, judgement.reason, judgement.remedy)
            case Eligibility.ELIGIBLE:
                return Admission(rule, opening.at, _row(wallet, facts, judgement))

    async def judge_all(self, market_id: MarketId, kind: VoteKind) -> VotingTerms:
        """Judge every voter of a vote whose judgement is missing or outdated, and return the vote's terms.

        A judgement by trades is outdated if the wallet's indexed trades have changed since. Raises EligibilityUnknown
        if a voter cannot be judged, after all others were.
        """
        terms = await self.terms(market_id, kind)
        if terms.rule.kind is RuleKind.OPEN:
            return terms
        opening = await self._opening(market_id, kind)
        facts_by_wallet = await self._due(terms.rule, market_id, kind, opening)
        judged = [(wallet, facts, judge(terms.rule, facts)) for wallet, facts in facts_by_wallet.items()]
        unknown = [item for item in judged if item[2].eligibility is Eligibility.UNKNOWN]
        rows = [_row(*item) for item in judged if item[2].eligibility is not Eligibility.UNKNOWN]
        for start in range(0, len(rows), _BATCH):
            some = rows[start : start + _BATCH]
            await vote_judgements.write(self.pool, market_id, kind, opening.at, some)
        if unknown:
            named = "; ".join(f"{wallet}: {judgement.reason}" for wallet, _, judgement in unknown[:_NAMED])
            raise EligibilityUnknown(f"{len(unknown)} voters of market {market_id} cannot be judged. {named}")
        return terms

    async def fix_open(self) -> None:
        """Fix the terms of all open votes."""
        await vote_rules.fix_open(self.pool, *(terms_of(self.settings, kind) for kind in VoteKind))

    async def judge_open(self) -> None:
        """Fix the terms of all open votes, and judge the voters of each vote that has unjudged votes on chain.

        Voters who cannot be judged now are judged by a later call.
        """
        await self.fix_open()
        for market_id, kind in await vote_judgements.open_unjudged(self.pool):
            with suppress(ChainError):  # a decision that depends on these voters raises the error again
                await self.judge_all(market_id, kind)

    async def _opening(self, market_id: MarketId, kind: VoteKind) -> VoteOpening:
        opening = await vote_judgements.opening(self.pool, market_id, kind)
        if opening is None:
            raise EligibilityUnknown(
                f"The index does not know yet when the {kind.value} vote of market {market_id} opened: try again in a "
                "moment."
            )
        return opening

    async def _due(
        self, rule: Rule, market_id: MarketId, kind: VoteKind, opening: VoteOpening
    ) -> dict[Wallet, VoterFacts]:
        if rule.kind is RuleKind.STAKED:
            changed = await vote_judgements.traded_otherwise(self.pool, market_id, kind, opening.at)
            return await self._traded(rule, opening, dict(changed))
        wallets = await vote_judgements.unjudged(self.pool, market_id, kind, opening.at)
        return await self._facts(rule, opening, wallets)

    async def _facts(
        self, rule: Rule, opening: VoteOpening, wallets: Sequence[Wallet]
    ) -> dict[Wallet, VoterFacts]:
        if not wallets:
            return {}
        match rule.kind:
            case RuleKind.FUNDED:
                permits = asyncio.Semaphore(_AT_ONCE)
                held = await asyncio.gather(*(self._held(wallet, opening, permits) for wallet in wallets))
                return dict(zip(wallets, held, strict=True))
            case RuleKind.STAKED:
                traded = {w: await vote_judgements.traded_before(self.pool, w, opening.at) for w in wallets}
                return await self._traded(rule, opening, traded)
            case RuleKind.LISTED:
                problem = await self.lists.load(self.pool, self.settings, self.program.address, rule.cid)
                if problem:
                    return dict.fromkeys(wallets, VoterFacts(why_unknown=problem))
                return await which_are_listed(self.pool, rule.cid, wallets)
            case RuleKind.OPEN:
                return dict.fromkeys(wallets, VoterFacts())

    async def _traded(
        self, rule: Rule, opening: VoteOpening, traded_by_wallet: Mapping[Wallet, Lamports]
    ) -> dict[Wallet, VoterFacts]:
        """Return the lamports that each wallet traded.

        They are unknown if they do not suffice for the rule and the wallet also traded in a market whose events are not
        folded to their end.
        """
        short = any(traded < rule.lamports for traded in traded_by_wallet.values())
        unfolded = await vote_judgements.unfolded_traders(self.pool, opening.at) if short else set()
        why = "the events of a market that it traded in are not folded to their end."
        return {
            wallet: VoterFacts(why_unknown=why)
            if traded < rule.lamports and wallet in unfolded
            else VoterFacts(traded=traded)
            for wallet, traded in traded_by_wallet.items()
        }

    async def _held(self, wallet: Wallet, opening: VoteOpening, permits: asyncio.Semaphore) -> VoterFacts:
        """Return what a wallet held, from the first endpoint that shows it.

        One endpoint answers all questions about a wallet: that a node lists no transaction of it proves nothing about
        the history that another node keeps.
        """
        if not self.rpcs:
            return VoterFacts(why_unknown="no Solana RPC is set (SOLANA_RPC_URL).")
        async with permits:
            try:
                return await self.share(wallet, opening, partial(self._read_held, wallet, opening))
            except ChainError as problem:
                return VoterFacts(why_unknown=str(problem))

    async def _read_held(self, wallet: Wallet, opening: VoteOpening) -> VoterFacts:
        return await first_sufficient(
            self.rpcs,
            lambda rpc: held_before(rpc, wallet, opening),
            suffices=lambda facts: not facts.why_unknown,
        )


def _row(wallet: Wallet, facts: VoterFacts, judgement: Judgement) -> VoterJudgement:
    return VoterJudgement(
        wallet=wallet,
        eligible=judgement.eligibility is Eligibility.ELIGIBLE,
        held=facts.held,
        traded=None if facts.traded is None else Lamports(facts.traded),
    )
