"""What a wallet held, or had traded, before a vote opened, from an RPC alone; what it does not show stays unknown.

Before means: in a block whose time is less than the opening's, in chain seconds. A block's time is the time that
programs see in it, so an event's own timestamp says the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
from solders.pubkey import Pubkey

from zmart.chain.accounts import UserPosition
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc, SignatureInfo
from zmart.chain.transactions import extract_events, parse_transaction
from zmart.errors import ChainError, DecodeError
from zmart.market.eligibility import Opening, VoterStanding
from zmart.market.events import SharesBought, SharesSold
from zmart.market.types import Address, Lamports, Signature, Wallet

_PAGE = 1_000
_MOST_PAGES = 20
"""So much of a wallet's later history is paged through; behind that, the opening's own signature is the way in."""
_MOST_TRADES = 2_000
_USER_OFFSET = 8 + 32  # behind the discriminator and the market


class _Meta(msgspec.Struct, rename="camel"):
    pre_balances: list[int]
    post_balances: list[int]
    loaded_addresses: dict[str, list[str]] | None = None


class _Message(msgspec.Struct, rename="camel"):
    account_keys: list[str]


class _Signed(msgspec.Struct):
    message: _Message


class _Balances(msgspec.Struct):
    transaction: _Signed
    meta: _Meta


async def held_before(rpc: Rpc, wallet: Wallet, opening: Opening) -> VoterStanding:
    """The wallet's lamports when the vote opened: after its newest transaction before that, or before its first one
    since. Raises ChainError when the RPC fails."""
    first_since: SignatureInfo | None = None
    async for line in _newest_first(rpc, Address(wallet)):
        if line is None:
            return await _held_behind_many(rpc, wallet, opening)
        if line.block_time is None:
            return VoterStanding(why_unknown=f"the RPC tells no time of transaction {line.signature}.")
        if line.block_time < opening.at:
            return await _balance(rpc, wallet, line.signature, after=True)
        first_since = line
    if not await _history_reaches(rpc, opening):
        return VoterStanding(why_unknown="the RPC keeps no transactions that are as old as the vote.")
    if first_since is not None:
        return await _balance(rpc, wallet, first_since.signature, after=False)
    # Lamports came by some transaction. Where the node lists none, it is older than what the node keeps, or so young
    # that it is not listed yet: believing the balance would let a wallet vote that was funded a moment ago.
    if await rpc.get_balance(Address(wallet)) > 0:
        return VoterStanding(why_unknown="the RPC shows no transaction that brought the wallet its lamports.")
    return VoterStanding(held=Lamports(0))


async def traded_before(
    rpc: Rpc, program: Program, wallet: Wallet, opening: Opening, enough: Lamports
) -> VoterStanding:
    """What the wallet paid for purchases and received from sales before the vote opened; stops at `enough`.

    Read from the transactions of its position accounts: every trade names one of them, nothing else does, so that a
    wallet busy elsewhere costs no more. Raises ChainError when the RPC fails.
    """
    traded, bought, looked_at = 0, 0, 0
    positions = await _positions(rpc, program, wallet)
    for address in positions:
        async for line in _newest_first(rpc, address):
            if line is not None and line.err is not None:
                continue
            looked_at += 1
            if line is None or looked_at > _MOST_TRADES:
                return VoterStanding(why_unknown=f"the wallet has more than {_MOST_TRADES} transactions.")
            raw = await rpc.get_transaction_json(line.signature)
            found = None if raw is None else _trades(program, raw, wallet)
            if found is None:
                return VoterStanding(
                    why_unknown=f"the RPC does not show what transaction {line.signature} did."
                )
            for trade in found:
                bought += trade.cost if isinstance(trade, SharesBought) else 0
                if trade.timestamp < opening.at:
                    traded += trade.cost if isinstance(trade, SharesBought) else trade.proceeds
            if traded >= enough:
                return VoterStanding(traded=Lamports(traded))
    if bought < sum(position.total_invested for position in positions.values()):
        return VoterStanding(why_unknown="the RPC keeps only a part of the wallet's trades.")
    return VoterStanding(traded=Lamports(traded))


async def _positions(rpc: Rpc, program: Program, wallet: Wallet) -> dict[Address, UserPosition]:
    discriminator = program.accounts.discriminator(UserPosition)
    filters = [(0, discriminator), (_USER_OFFSET, bytes(Pubkey.from_string(wallet)))]
    infos = await rpc.get_program_accounts(program.address, memcmp=filters)
    return {info.address: program.accounts.position(info) for info in infos}


def _trades(program: Program, raw: bytes, wallet: Wallet) -> list[SharesBought | SharesSold] | None:
    """The wallet's trades in a transaction, in any market; None where a cut log may hide one."""
    extracted = extract_events(program, parse_transaction(raw))
    if extracted.lost or extracted.unknown:
        return None
    return [
        item.event
        for item in extracted.events
        if isinstance(item.event, SharesBought | SharesSold) and item.event.user == wallet
    ]


async def _newest_first(rpc: Rpc, address: Address) -> AsyncIterator[SignatureInfo | None]:
    """The account's transactions; None at the end where there are more than are paged through."""
    before: Signature | None = None
    for _ in range(_MOST_PAGES):
        page = await rpc.get_signatures_for_address(address, before=before, limit=_PAGE)
        for line in page:
            yield line
        if len(page) < _PAGE:
            return
        before = page[-1].signature
    yield None


async def _held_behind_many(rpc: Rpc, wallet: Wallet, opening: Opening) -> VoterStanding:
    """For a wallet with very many transactions since the opening: ask for those before the opening's own."""
    for line in await rpc.get_signatures_for_address(Address(wallet), before=opening.signature, limit=_PAGE):
        if line.block_time is not None and line.block_time < opening.at:
            return await _balance(rpc, wallet, line.signature, after=True)
    return VoterStanding(why_unknown="the wallet has too many transactions since the vote opened.")


async def _history_reaches(rpc: Rpc, opening: Opening) -> bool:
    """Whether the node keeps every block since the opening. Raises ChainError when it does not say."""
    first = await rpc.call("getFirstAvailableBlock")
    if not isinstance(first, int):
        raise ChainError("The RPC answered getFirstAvailableBlock with something that is no slot.")
    return first <= opening.slot


async def _balance(rpc: Rpc, wallet: Wallet, signature: Signature, *, after: bool) -> VoterStanding:
    raw = await rpc.get_transaction_json(signature)
    if raw is None:
        return VoterStanding(why_unknown=f"the RPC does not show transaction {signature}.")
    try:
        found = msgspec.json.decode(raw, type=_Balances)
        loaded = found.meta.loaded_addresses or {}
        keys = [
            *found.transaction.message.account_keys,
            *loaded.get("writable", ()),
            *loaded.get("readonly", ()),
        ]
        balances = found.meta.post_balances if after else found.meta.pre_balances
        return VoterStanding(held=Lamports(balances[keys.index(wallet)]))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ValueError, IndexError) as problem:
        raise DecodeError(f"The RPC shows no balance of {wallet} in transaction {signature}.") from problem
