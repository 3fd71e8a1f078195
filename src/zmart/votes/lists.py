"""Fetch the signed voter lists of the rule `listed` from IPFS by their CID, check them and store them."""

from __future__ import annotations

from collections.abc import Sequence

from zmart.errors import ZmartError
from zmart.ipfs.gateway import fetch_from_gateway
from zmart.market.eligibility import VoterFacts
from zmart.market.types import Address, Wallet
from zmart.proofs.voter_list import MAX_BYTES, parse_list
from zmart.settings import Settings
from zmart.store import projections, voter_lists
from zmart.store.pool import Pool


async def load_list(pool: Pool, settings: Settings, program: Address, cid: str) -> str:
    """Fetch and store the list `cid` unless it is stored. Return "" if it is stored now, else why it is not."""
    if await voter_lists.known(pool, cid):
        return ""
    rules = await projections.read_config(pool)
    if rules is None:
        return "the program's configuration is not indexed yet."
    try:
        raw = await fetch_from_gateway(settings.ipfs_gateway_url, cid, max_bytes=MAX_BYTES)
        voter_list = parse_list(raw, cid, program, (rules.backend_authority, rules.admin))
    except ZmartError as problem:
        return str(problem)
    await voter_lists.keep(pool, cid, voter_list.signer, voter_list.wallets)
    return ""


async def which_are_listed(pool: Pool, cid: str, wallets: Sequence[Wallet]) -> dict[Wallet, VoterFacts]:
    """Return for each wallet whether it is in the stored list `cid`."""
    listed = await voter_lists.listed(pool, cid, wallets)
    return {wallet: VoterFacts(listed=wallet in listed) for wallet in wallets}
