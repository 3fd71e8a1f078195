"""What an RPC alone shows about voters as they were before a vote opened; what it does not show stays unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from zmart.chain.program import Program
from zmart.chain.rpc import Rpc, SignatureInfo
from zmart.chain.wallet_history import held_before, traded_before
from zmart.errors import ChainError
from zmart.market.eligibility import Opening, Rule, RuleKind, VoterStanding
from zmart.market.types import Address, ChainTime, Signature, Wallet
from zmart.proofs.voter_list import VoterList

_AT_ONCE = 8
_PAGE = 1_000
_MOST_PAGES = 100


async def opening_of(rpc: Rpc, market: Address, at: ChainTime) -> Opening | None:
    """The vote's opening at chain time `at`: the market's first successful transaction that is not older. None where
    the RPC does not show it."""
    found: SignatureInfo | None = None
    before: Signature | None = None
    for _ in range(_MOST_PAGES):
        page = await rpc.get_signatures_for_address(market, before=before, limit=_PAGE)
        for line in page:
            if line.block_time is None:
                return None
            if line.block_time < at:
                break
            found = line if line.err is None else found
        if len(page) < _PAGE or (page[-1].block_time or 0) < at:
            break
        before = page[-1].signature
    return None if found is None else Opening(at, found.slot, found.signature)


async def standings(
    rpc: Rpc,
    program: Program,
    rule: Rule,
    opening: Opening | None,
    wallets: Iterable[Wallet],
    voter_list: VoterList | None = None,
) -> dict[Wallet, VoterStanding]:
    """What the rule asks about each of these wallets."""
    if rule.kind is RuleKind.OPEN:
        return {}
    if rule.kind is RuleKind.LISTED:
        return _listed(wallets, voter_list)
    if opening is None:
        unknown = VoterStanding(why_unknown="the RPC does not show the transaction that opened the vote.")
        return dict.fromkeys(wallets, unknown)
    permits = asyncio.Semaphore(_AT_ONCE)

    async def one(wallet: Wallet) -> tuple[Wallet, VoterStanding]:
        async with permits:
            try:
                if rule.kind is RuleKind.FUNDED:
                    return wallet, await held_before(rpc, wallet, opening)
                return wallet, await traded_before(rpc, program, wallet, opening, rule.lamports)
            except ChainError as problem:
                return wallet, VoterStanding(why_unknown=str(problem))

    return dict(await asyncio.gather(*map(one, wallets)))


def _listed(wallets: Iterable[Wallet], voter_list: VoterList | None) -> dict[Wallet, VoterStanding]:
    if voter_list is None:
        return dict.fromkeys(wallets, VoterStanding(why_unknown="the list was not given."))
    chosen = set(voter_list.wallets)
    return {wallet: VoterStanding(listed=wallet in chosen) for wallet in wallets}
