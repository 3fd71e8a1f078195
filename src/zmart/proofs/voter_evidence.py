"""Read from an RPC what voters held or had traded before a vote opened; what it does not show is unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from zmart.chain.address_history import newest_first
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.chain.rpc_types import SignatureInfo
from zmart.chain.wallet_history import held_before, traded_before
from zmart.errors import ChainError, ZmartError
from zmart.ipfs.gateway import fetch_from_gateway
from zmart.market.eligibility import Rule, RuleKind, VoteOpening, VoterFacts
from zmart.market.types import Address, ChainTime, VoteKind, Wallet
from zmart.proofs.tally_evidence import Anchor, Evidence
from zmart.proofs.verify_tally import voters_of
from zmart.proofs.verify_voters import rule_of
from zmart.proofs.voter_list import MAX_BYTES, parse_list

_AT_ONCE = 8
_MOST_PAGES = 100


async def opening_of(rpc: Rpc, market: Address, at: ChainTime) -> VoteOpening | None:
    """Return the opening of a vote at chain time `at`, which is the market's first successful transaction since then.

    Return None if the RPC does not show it, or not within _MOST_PAGES pages.
    """
    first: SignatureInfo | None = None
    async for line in newest_first(rpc, market, _MOST_PAGES):
        if line is None or line.block_time is None:
            return None
        if line.block_time < at:
            break
        first = line if line.err is None else first
    return None if first is None else VoteOpening(at, first.slot, first.signature)


async def facts_about_voters(
    rpc: Rpc,
    program: Program,
    evidence: Evidence,
    anchor: Anchor,
    log: Sequence[bytes],
    gateway_url: str,
    saved_list: bytes | None = None,
) -> dict[Wallet, VoterFacts]:
    """Return the facts that the rule of the anchor's memo needs, for every voter of its log.

    The result is empty if every wallet may vote, or if the rule is unknown. `saved_list` holds the bytes of the list
    for the rule `listed`; without them the list is fetched from the gateway.
    """
    rule = rule_of(anchor.memo.rule if anchor.memo else None)
    if rule is None or rule.kind is RuleKind.OPEN:
        return {}
    wallets = voters_of(anchor, log)
    if rule.kind is RuleKind.LISTED:
        return await _by_list(rule.cid, evidence, wallets, gateway_url, saved_list)
    is_proposal = anchor.kind is VoteKind.PROPOSAL
    at = evidence.account.created_at if is_proposal else evidence.account.dispute_initiated_at
    opening = await opening_of(rpc, program.addresses.market(evidence.market_id), at)
    return await facts_about(rpc, program, rule, opening, wallets)


async def facts_about(
    rpc: Rpc,
    program: Program,
    rule: Rule,
    opening: VoteOpening | None,
    wallets: Sequence[Wallet],
) -> dict[Wallet, VoterFacts]:
    """Return what each wallet held before the opening (rule `funded`) or had traded before it (rule `staked`)."""
    if opening is None:
        unknown = VoterFacts(why_unknown="the RPC does not show the transaction that opened the vote.")
        return dict.fromkeys(wallets, unknown)
    permits = asyncio.Semaphore(_AT_ONCE)

    async def one(wallet: Wallet) -> tuple[Wallet, VoterFacts]:
        async with permits:
            try:
                if rule.kind is RuleKind.FUNDED:
                    return wallet, await held_before(rpc, wallet, opening)
                return wallet, await traded_before(rpc, program, wallet, opening, rule.lamports)
            except ChainError as problem:
                return wallet, VoterFacts(why_unknown=str(problem))

    return dict(await asyncio.gather(*map(one, wallets)))


async def _by_list(
    cid: str, evidence: Evidence, wallets: Sequence[Wallet], gateway_url: str, saved_list: bytes | None
) -> dict[Wallet, VoterFacts]:
    signers = (evidence.config.backend_authority, evidence.config.admin)
    try:
        raw = saved_list or await fetch_from_gateway(gateway_url, cid, max_bytes=MAX_BYTES)
        listed = set(parse_list(raw, cid, evidence.program, signers).wallets)
    except ZmartError as problem:
        return dict.fromkeys(wallets, VoterFacts(why_unknown=str(problem)))
    return {wallet: VoterFacts(listed=wallet in listed) for wallet in wallets}
