"""Read from an RPC how much a wallet held, or had traded, before a vote opened.

A fact that the RPC does not show stays unknown. Every answer comes from a node that has reached the slot of the
opening: one that lags misses transactions from before it. "Before" means: in a block whose time in chain seconds is
less than that of the opening. A block's time is the time that programs see in it, so it equals the timestamp of an
event in that block.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec
from solders.pubkey import Pubkey

from zmart.chain.accounts import PositionAccount
from zmart.chain.address_history import newest_first
from zmart.chain.event_extraction import extract_events, may_hide_calls
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.chain.rpc_types import SignatureInfo
from zmart.chain.transactions import parse_transaction
from zmart.errors import ChainError, DecodeError, UnsupportedVersion
from zmart.market.eligibility import VoteOpening, VoterFacts
from zmart.market.events import SharesBought, SharesSold
from zmart.market.json_input import JSON_ERRORS
from zmart.market.types import Address, Lamports, Signature, Slot, Wallet

_MOST_PAGES = 20
"""Maximum number of pages that are read of a wallet's history since the opening.

If there are more, the search for the balance starts again at the signature of the transaction that opened the vote.
"""
_SEARCH_PAGES = 2
"""Maximum number of pages of each list by which the wallet's first transaction is searched."""
_MOST_SEARCH_PAGES = 1_000
"""Maximum number of pages that such a search reads. Each list halves the slots that are left; a year has 2 to the power
of 26."""
_MOST_SKIPPED = 8
"""How many slots after one another are read for a block: leaders skip some, and small clusters have empty ones."""
_GENESIS_BLOCKS = 1
"""A node whose first block is in this slot or before keeps all blocks: there are no transactions in the first ones."""
_MOST_TRADES = 2_000
_USER_OFFSET = 8 + 32  # after the discriminator and the market


class _BalanceMeta(msgspec.Struct, rename="camel"):
    pre_balances: list[int]
    post_balances: list[int]
    loaded_addresses: dict[str, list[str]] | None = None


class _BalanceMessage(msgspec.Struct, rename="camel"):
    account_keys: list[str]


class _BalanceTransaction(msgspec.Struct):
    message: _BalanceMessage


class _Balances(msgspec.Struct):
    transaction: _BalanceTransaction
    meta: _BalanceMeta


class _Listing(msgspec.Struct, frozen=True):
    """What a list of a wallet's transactions, newest first, shows about a vote's opening.

    `before` is the newest transaction before the opening, at which reading ends. `oldest` is the oldest one since the
    opening, None if there is none. `has_ended` is false if the list goes on after the pages that were read.
    """

    before: SignatureInfo | None = None
    oldest: SignatureInfo | None = None
    has_ended: bool = True
    why_unknown: str = ""


_EMPTY = _Listing()


async def held_before(rpc: Rpc, wallet: Wallet, opening: VoteOpening) -> VoterFacts:
    """Return the lamports that a wallet held when the vote opened.

    This is the balance after the wallet's newest transaction before the opening. Without one it is the balance before
    the wallet's first transaction since. If the RPC does not show it, the result states why it is unknown. Raises
    ChainError if the RPC fails.
    """
    listing = await _listing(rpc, wallet, opening, _MOST_PAGES)
    if not listing.has_ended:
        assert listing.oldest is not None
        return await _held_before_many(rpc, wallet, opening, listing.oldest)
    if (held := await _by_listing(rpc, wallet, listing)) is not None:
        return held
    if not await _history_reaches(rpc, opening):
        return VoterFacts(why_unknown="the RPC keeps no transactions that are as old as the vote.")
    if listing.oldest is not None:
        return await _balance(rpc, wallet, listing.oldest.signature, after=False)
    # Lamports arrive in some transaction. If the node lists none, it is older than the node's history, or too new to be
    # listed: a rule that trusted the balance would admit a wallet that was funded a moment ago.
    if await rpc.get_balance(Address(wallet), since=opening.slot) > 0:
        return VoterFacts(why_unknown="the RPC shows no transaction that brought the wallet its lamports.")
    return VoterFacts(held=Lamports(0))


async def traded_before(
    rpc: Rpc, program: Program, wallet: Wallet, opening: VoteOpening, enough: Lamports
) -> VoterFacts:
    """Return how many lamports a wallet had traded before the vote opened.

    The sum covers payments for purchases and proceeds of sales. It is read from the transactions of the wallet's
    position accounts. Besides trades only claims name such an account, so other activity of the wallet costs no calls.
    Reading stops once the sum reaches `enough`. If the RPC does not show all trades, the result states why the sum is
    unknown. Raises ChainError if the RPC fails.
    """
    traded, bought, read_count = 0, 0, 0
    positions = await _positions(rpc, program, wallet, opening.slot)
    for address in positions:
        async for entry in newest_first(rpc, address, _MOST_PAGES, opening.slot):
            if entry is not None and entry.err is not None:
                continue
            read_count += 1
            if entry is None or read_count > _MOST_TRADES:
                return VoterFacts(why_unknown=f"the wallet has more than {_MOST_TRADES} transactions.")
            raw = await rpc.get_transaction_json(entry.signature)
            trades = None if raw is None else _trades(program, raw, wallet)
            if trades is None:
                return VoterFacts(
                    why_unknown=f"the RPC does not show what transaction {entry.signature} did."
                )
            for trade in trades:
                bought += trade.cost if isinstance(trade, SharesBought) else 0
                if trade.timestamp < opening.at:
                    traded += trade.cost if isinstance(trade, SharesBought) else trade.proceeds
            if traded >= enough:
                return VoterFacts(traded=Lamports(traded))
    if bought < sum(position.total_invested for position in positions.values()):
        return VoterFacts(why_unknown="the RPC keeps only a part of the wallet's trades.")
    return VoterFacts(traded=Lamports(traded))


async def _positions(
    rpc: Rpc, program: Program, wallet: Wallet, since: Slot
) -> dict[Address, PositionAccount]:
    discriminator = program.accounts.discriminator(PositionAccount)
    filters = [(0, discriminator), (_USER_OFFSET, bytes(Pubkey.from_string(wallet)))]
    infos = await rpc.get_program_accounts(program.address, memcmp=filters, since=since)
    return {info.address: program.accounts.position(info) for info in infos}


def _trades(program: Program, raw: bytes, wallet: Wallet) -> list[SharesBought | SharesSold] | None:
    """Return the wallet's trades in one transaction, in any market; None if the node may hide one."""
    transaction = parse_transaction(raw)
    extracted = extract_events(program, transaction)
    if extracted.lost or extracted.unknown or may_hide_calls(program, transaction):
        return None
    return [
        item.event
        for item in extracted.events
        if isinstance(item.event, SharesBought | SharesSold) and item.event.user == wallet
    ]


async def _listing(
    rpc: Rpc,
    wallet: Wallet,
    opening: VoteOpening,
    most_pages: int,
    before: Signature | None = None,
    since: Slot | None = None,
) -> _Listing:
    """Read at most `most_pages` pages of a wallet's transactions, newest first, down to the opening.

    With `before` only those before that transaction are listed. The node has reached the opening and slot `since`.
    """
    oldest: SignatureInfo | None = None
    async for entry in newest_first(
        rpc, Address(wallet), most_pages, max(opening.slot, since or Slot(0)), before
    ):
        if entry is None:
            return _Listing(oldest=oldest, has_ended=False)
        if entry.block_time is None:
            return _Listing(why_unknown=f"the RPC has no time for transaction {entry.signature}.")
        if entry.block_time < opening.at:
            return _Listing(before=entry, oldest=oldest)
        oldest = entry
    return _Listing(oldest=oldest)


async def _by_listing(rpc: Rpc, wallet: Wallet, listing: _Listing) -> VoterFacts | None:
    """Return the balance that a transaction from before the opening shows; None if the list has none."""
    if listing.why_unknown:
        return VoterFacts(why_unknown=listing.why_unknown)
    if listing.before is None:
        return None
    return await _balance(rpc, wallet, listing.before.signature, after=True)


async def _held_before_many(
    rpc: Rpc, wallet: Wallet, opening: VoteOpening, oldest: SignatureInfo
) -> VoterFacts:
    """Return the balance of a wallet that has more transactions since the opening than are read down to `oldest`.

    The search starts at the signature of the transaction that opened the vote. If nothing is listed before it by a node
    that has this transaction and keeps all blocks, then the wallet was first used later and held nothing. If the node
    keeps all blocks since the opening, the balance before the wallet's first transaction since then decides.
    """
    if not opening.signature:
        return VoterFacts(why_unknown="the wallet has too many transactions since the vote opened.")
    older = await _listing(rpc, wallet, opening, _MOST_PAGES, opening.signature)
    if not older.has_ended:
        return VoterFacts(why_unknown="the wallet has too many transactions around the opening of the vote.")
    if (held := await _by_listing(rpc, wallet, older)) is not None:
        return held
    status = (await rpc.get_signature_statuses([opening.signature], search_history=True)).values[0]
    first_block = await _first_block(rpc)
    if status is not None and first_block <= _GENESIS_BLOCKS:
        return VoterFacts(held=Lamports(0))
    if first_block > opening.slot:
        return VoterFacts(
            why_unknown="the wallet has too many transactions since the vote opened, and the RPC may not show older "
            "ones."
        )
    end = await _list_to_its_end(rpc, wallet, opening, oldest)
    if (held := await _by_listing(rpc, wallet, end)) is not None:
        return held
    # A node removes its oldest blocks while it is asked: the check comes after the list that it is about.
    if end.has_ended and end.oldest is not None and await _history_reaches(rpc, opening):
        return await _balance(rpc, wallet, end.oldest.signature, after=False)
    return VoterFacts(
        why_unknown="the wallet has too many transactions since the vote opened, and its first one was not found."
    )


async def _list_to_its_end(rpc: Rpc, wallet: Wallet, opening: VoteOpening, oldest: SignatureInfo) -> _Listing:
    """Return a list of the wallet's earliest transactions that is read to its end; `has_ended` is false without one.

    `oldest` is the oldest transaction that is known. Lists start in the middle of the slots that are left, at any
    transaction of a block, so their number grows with the logarithm of the time since the opening and not with the
    number of the wallet's transactions. That a list is empty, or no block has transactions, only directs the search: a
    node that does not know the signature at which a list starts returns an empty one, too. The result is a list that is
    read from one of the wallet's transactions to its end, as it is for a wallet with few transactions.
    """
    low, pages = opening.slot, 0
    while pages < _MOST_SEARCH_PAGES:
        middle = Slot((low + oldest.slot) // 2)
        if middle <= low:  # no slot is left between: read on from the oldest one
            listing = await _listing(rpc, wallet, opening, _MOST_PAGES, oldest.signature, oldest.slot)
            pages += _MOST_PAGES
            if listing == _EMPTY:
                return _Listing(oldest=oldest)
        else:
            start = await _signature_since(rpc, middle, oldest.slot)
            listing = await _listing(rpc, wallet, opening, _SEARCH_PAGES, start, middle) if start else _EMPTY
            pages += _SEARCH_PAGES
        if listing == _EMPTY:
            low = middle
            continue
        if listing.has_ended:
            return listing
        assert listing.oldest is not None
        oldest = listing.oldest
        low = low if low < oldest.slot else opening.slot  # one of the empty lists has misled the search
    return _Listing(oldest=oldest, has_ended=False)


async def _signature_since(rpc: Rpc, slot: Slot, end: Slot) -> Signature | None:
    """Return a transaction of the first block from `slot` on that has one; None if the next slots have none."""
    for each in range(slot, min(slot + _MOST_SKIPPED, end)):
        with suppress(UnsupportedVersion):
            if signatures := await rpc.get_block_signatures(Slot(each)):
                return signatures[0]
    return None


async def _history_reaches(rpc: Rpc, opening: VoteOpening) -> bool:
    """Return whether the node keeps every block since the opening. Raises ChainError."""
    return await _first_block(rpc) <= opening.slot


async def _first_block(rpc: Rpc) -> int:
    """Return the slot of the first block that the node keeps. Raises ChainError if the node does not report it."""
    first = await rpc.call("getFirstAvailableBlock")
    if not isinstance(first, int):
        raise ChainError("The RPC's answer to getFirstAvailableBlock is not a slot.")
    return first


async def _balance(rpc: Rpc, wallet: Wallet, signature: Signature, *, after: bool) -> VoterFacts:
    raw = await rpc.get_transaction_json(signature)
    if raw is None:
        return VoterFacts(why_unknown=f"the RPC does not show transaction {signature}.")
    try:
        body = msgspec.json.decode(raw, type=_Balances)
        loaded = body.meta.loaded_addresses or {}
        keys = [
            *body.transaction.message.account_keys,
            *loaded.get("writable", ()),
            *loaded.get("readonly", ()),
        ]
        balances = body.meta.post_balances if after else body.meta.pre_balances
        return VoterFacts(held=Lamports(balances[keys.index(wallet)]))
    except (*JSON_ERRORS, ValueError, IndexError) as problem:
        raise DecodeError(f"The RPC shows no balance of {wallet} in transaction {signature}.") from problem
