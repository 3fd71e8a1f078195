"""Read from an RPC how much a wallet held, or had traded, before a vote opened.

A fact that the RPC does not show stays unknown. Every answer comes from a node that has reached the slot of the
opening: one that lags misses transactions from before it. "Before" means: in a block whose time in chain seconds is
less than that of the opening. A block's time is the time that programs see in it, so it equals the timestamp of an
event in that block.
"""

from __future__ import annotations

import msgspec
from solders.pubkey import Pubkey

from zmart.chain.accounts import PositionAccount
from zmart.chain.address_history import newest_first
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.chain.rpc_types import SignatureInfo
from zmart.chain.transactions import extract_events, parse_transaction
from zmart.errors import ChainError, DecodeError
from zmart.market.eligibility import VoteOpening, VoterFacts
from zmart.market.events import SharesBought, SharesSold
from zmart.market.json_input import JSON_ERRORS
from zmart.market.types import Address, Lamports, Signature, Slot, Wallet

_MOST_PAGES = 20
"""Maximum number of pages that are read of a wallet's history since the opening.

If there are more, the search for the balance starts again at the signature of the transaction that opened the vote.
"""
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


async def held_before(rpc: Rpc, wallet: Wallet, opening: VoteOpening) -> VoterFacts:
    """Return the lamports that a wallet held when the vote opened.

    This is the balance after the wallet's newest transaction before the opening. Without one it is the balance before
    the wallet's first transaction since. If the RPC does not show it, the result states why it is unknown. Raises
    ChainError if the RPC fails.
    """
    first_since: SignatureInfo | None = None
    async for entry in newest_first(rpc, Address(wallet), _MOST_PAGES, opening.slot):
        if entry is None:
            return await _held_before_many(rpc, wallet, opening)
        if entry.block_time is None:
            return VoterFacts(why_unknown=f"the RPC has no time for transaction {entry.signature}.")
        if entry.block_time < opening.at:
            return await _balance(rpc, wallet, entry.signature, after=True)
        first_since = entry
    if not await _history_reaches(rpc, opening):
        return VoterFacts(why_unknown="the RPC keeps no transactions that are as old as the vote.")
    if first_since is not None:
        return await _balance(rpc, wallet, first_since.signature, after=False)
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
    """Return the wallet's trades in one transaction, in any market; None if a truncated log may hide one."""
    extracted = extract_events(program, parse_transaction(raw))
    if extracted.lost or extracted.unknown:
        return None
    return [
        item.event
        for item in extracted.events
        if isinstance(item.event, SharesBought | SharesSold) and item.event.user == wallet
    ]


async def _held_before_many(rpc: Rpc, wallet: Wallet, opening: VoteOpening) -> VoterFacts:
    """Return the balance of a wallet that has more transactions since the opening than are read.

    The search starts at the signature of the transaction that opened the vote. If nothing is listed before it by a node
    that has this transaction and keeps all blocks, then the wallet was first used later and held nothing.
    """
    if not opening.signature:
        return VoterFacts(why_unknown="the wallet has too many transactions since the vote opened.")
    pages = newest_first(rpc, Address(wallet), _MOST_PAGES, opening.slot, opening.signature)
    async for entry in pages:
        if entry is None or entry.block_time is None:
            return VoterFacts(
                why_unknown="the wallet has too many transactions around the opening of the vote."
            )
        if entry.block_time < opening.at:
            return await _balance(rpc, wallet, entry.signature, after=True)
    status = (await rpc.get_signature_statuses([opening.signature], search_history=True)).values[0]
    if status is not None and await _first_block(rpc) <= _GENESIS_BLOCKS:
        return VoterFacts(held=Lamports(0))
    return VoterFacts(
        why_unknown="the wallet has too many transactions since the vote opened, and the RPC may not show older ones."
    )


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
