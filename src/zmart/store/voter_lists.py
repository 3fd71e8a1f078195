"""Store signed lists of wallets that may vote, once they are fetched and checked. The key of a list is its CID."""

from __future__ import annotations

from collections.abc import Sequence

from zmart.market.types import Wallet
from zmart.store.pool import Connection, Pool

_KNOWN = "SELECT EXISTS (SELECT FROM voter_lists WHERE cid = $1)"
_KEEP = "INSERT INTO voter_lists (cid, signer, wallets) VALUES ($1, $2, $3) ON CONFLICT (cid) DO NOTHING"
_KEEP_WALLETS = """
INSERT INTO voter_list_wallets (cid, wallet) SELECT $1, * FROM unnest($2::text[]) ON CONFLICT DO NOTHING
"""
_LISTED = "SELECT wallet FROM voter_list_wallets WHERE cid = $1 AND wallet = ANY ($2::text[])"


async def known(db: Pool | Connection, cid: str) -> bool:
    """Return whether the list with this CID is stored."""
    is_known: bool = await db.fetchval(_KNOWN, cid)
    return is_known


async def keep(pool: Pool, cid: str, signer: Wallet, wallets: Sequence[Wallet]) -> None:
    """Store a list of wallets. The caller has checked it against its CID and the signature of `signer`."""
    async with pool.transaction() as connection:
        await connection.execute(_KEEP_WALLETS, cid, list(wallets))
        await connection.execute(_KEEP, cid, signer, len(wallets))


async def listed(db: Pool | Connection, cid: str, wallets: Sequence[Wallet]) -> set[Wallet]:
    """Return those of `wallets` that are in the list with this CID."""
    return {Wallet(row[0]) for row in await db.fetch(_LISTED, cid, list(wallets))}
