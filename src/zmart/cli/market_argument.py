"""Parse a command's argument that names a market by its id or its address, and find the market's id."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zmart.market.identifiers import MarketRef
    from zmart.market.types import MarketId
    from zmart.settings import Settings
    from zmart.store.pool import Pool

HELP = "the market's id (64 hex characters) or its address"


def market_ref(text: str) -> MarketRef:
    """Parse a market's id (64 hex characters) or address. Raises Invalid for any other text."""
    from zmart.errors import Invalid
    from zmart.market.identifiers import parse_market

    ref = parse_market(text)
    if ref is None:
        raise Invalid(
            "market", f"{text[:70]!r} is not a market id (64 hex characters, see /api/markets) or address."
        )
    return ref


async def indexed_market_id(pool: Pool, ref: MarketRef) -> MarketId:
    """Return the id of a market; an address is looked up in the index. Raises NotFound, StoreError."""
    from zmart.errors import NotFound
    from zmart.store import markets

    market_id = ref.id or await markets.id_of(pool, ref)
    if market_id is None:
        raise NotFound(f"There is no market {ref}: it does not exist, or is not indexed yet.")
    return market_id


async def market_id_on_chain(settings: Settings, ref: MarketRef) -> MarketId:
    """Return the id of a market; for an address it is read from the market's account on chain.

    Raises NotFound, ChainError.
    """
    from zmart.chain.command_rpc import command_rpc
    from zmart.chain.program import Program
    from zmart.errors import NotFound
    from zmart.market.types import Address

    if ref.id is not None:
        return ref.id
    async with command_rpc(settings) as rpc:
        account = await rpc.get_account(Address(str(ref)))
    if account is None:
        raise NotFound(f"The RPC shows no market {ref}.")
    return Program.from_settings(settings).accounts.market(account).market_id
