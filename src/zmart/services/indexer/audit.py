"""Compare the index with the accounts on chain, field by field, and what each market owes with its lamports."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

import msgspec

from zmart.chain.accounts import AccountInfo, GlobalConfig, MarketAccount, PositionAccount, VoteRecord
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.market.fold_config import ConfigFold
from zmart.market.fold_state import FoldedVote, MarketFold, PositionFold
from zmart.market.pricing import PricingModelName
from zmart.market.types import Address, MarketId
from zmart.store import index_progress, projections
from zmart.store.pool import Pool

_ATTEMPTS = 5
_BETWEEN_S = 1.0
_NOBODY = "1" * 32


class Difference(msgspec.Struct, frozen=True):
    """A field that differs between the index and the account on chain.

    `kind` is "config", "market", "position" or "vote". If the row or the account is missing, `field` is "exists": the
    side that lacks it has None, the other one True. If `field` is "lamports", `index` is the least balance that the
    market must hold and `chain` is its balance, both in lamports.
    """

    account: Address
    kind: str
    field: str
    index: object
    chain: object


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an audit: the numbers of market, position and vote accounts on chain, and all differences.

    `differences` is empty when every account equals its row.
    """

    markets: int
    positions: int
    votes: int
    differences: list[Difference]


async def audit(
    pool: Pool, rpc: Rpc, program: Program, pricing: PricingModelName = "reference"
) -> AuditReport:
    """Compare the index with the chain until nothing differs, at most five times with one second in between.

    It repeats because the index is a moment behind while the chain progresses. Raises ChainError when the RPC cannot
    return the accounts.
    """
    report = await _once(pool, rpc, program, pricing)
    for _ in range(_ATTEMPTS - 1):
        if not report.differences:
            break
        await asyncio.sleep(_BETWEEN_S)
        report = await _once(pool, rpc, program, pricing)
    return report


Facts = Mapping[str, object]
Accounts = dict[tuple[str, Address], Facts]


async def _once(pool: Pool, rpc: Rpc, program: Program, pricing: PricingModelName) -> AuditReport:
    progress = await index_progress.read(pool)
    since = progress.tip_slot if progress else None  # a node behind the index lacks some of its accounts
    infos = await rpc.get_program_accounts(program.address, since=since)
    on_chain = _on_chain(program, infos)
    indexed = await _indexed(pool, program)
    kinds = [kind for kind, _ in on_chain]
    return AuditReport(
        markets=kinds.count("market"),
        positions=kinds.count("position"),
        votes=kinds.count("vote"),
        differences=[*_differences(indexed, on_chain), *await _uncovered(rpc, program, infos, pricing)],
    )


async def _uncovered(
    rpc: Rpc, program: Program, infos: list[AccountInfo], pricing: PricingModelName
) -> list[Difference]:
    """Return the markets that hold fewer lamports than they owe, the debts that they have noted included.

    A market that holds more is correct: any wallet may send it lamports. Under the pricing model v069 the result is
    empty: there a market's books begin with a deposit that nobody pays.
    """
    head = program.accounts.discriminator(MarketAccount)
    markets = [info for info in infos if info.data[:8] == head]
    if pricing == "v069" or not markets:
        return []
    rent = await rpc.get_minimum_balance_for_rent_exemption(len(markets[0].data))
    uncovered = []
    for info in markets:
        least = rent + _payable(program.accounts.market(info))
        if info.lamports < least:
            uncovered.append(Difference(info.address, "market", "lamports", least, info.lamports))
    return uncovered


def _payable(account: MarketAccount) -> int:
    fees = account.accumulated_resolver_fees + account.accumulated_lp_fees
    return account.current_liquidity + fees + account.notes.owed_resolver + account.notes.owed_protocol


def _differences(indexed: Accounts, on_chain: Accounts) -> Iterator[Difference]:
    for kind, address in sorted(indexed.keys() | on_chain.keys()):
        ours, theirs = indexed.get((kind, address)), on_chain.get((kind, address))
        if ours is None or theirs is None:
            yield Difference(
                address, kind, "exists", None if ours is None else True, None if theirs is None else True
            )
            continue
        for field, value in theirs.items():
            if ours[field] != value:
                yield Difference(address, kind, field, ours[field], value)


def _on_chain(program: Program, infos: list[AccountInfo]) -> Accounts:
    codec = program.accounts
    accounts: Accounts = {}
    for info in infos:
        head = info.data[:8]
        if head == codec.discriminator(MarketAccount):
            accounts["market", info.address] = _market_on_chain(codec.market(info))
        elif head == codec.discriminator(PositionAccount):
            accounts["position", info.address] = _position_on_chain(codec.position(info))
        elif head == codec.discriminator(VoteRecord):
            accounts["vote", info.address] = {"vote": codec.vote_record(info).vote}
        elif head == codec.discriminator(GlobalConfig):
            config = codec.global_config(info)
            accounts["config", info.address] = {name: getattr(config, name) for name in _CONFIG}
    return accounts


async def _indexed(pool: Pool, program: Program) -> Accounts:
    accounts: Accounts = {}
    addresses = program.addresses
    async with pool.transaction() as connection:
        config = await projections.read_config(connection)
        if config is not None:
            accounts["config", addresses.global_config()] = {name: getattr(config, name) for name in _CONFIG}
        markets = await projections.read_every_market(connection)
        by_id: dict[MarketId, Address] = {market.market_id: market.address for market in markets}
        for market in markets:
            accounts["market", market.address] = _market_indexed(market)
        for market_id, positions in (await projections.read_all_positions(connection, by_id)).items():
            for position in positions.values():
                address = addresses.position(by_id[market_id], position.wallet)
                accounts["position", address] = _position_indexed(by_id[market_id], position)
        for vote in await projections.read_every_vote(connection):
            accounts["vote", _vote_address(program, vote)] = {"vote": vote.vote}
    return accounts


def _vote_address(program: Program, vote: FoldedVote) -> Address:
    addresses = program.addresses
    return addresses.vote_record(addresses.market(vote.market_id), vote.wallet, vote.kind)


_CONFIG = tuple(name for name in ConfigFold.__struct_fields__ if name != "updated_slot")


def _shared(account: type[msgspec.Struct], row: type[msgspec.Struct]) -> tuple[str, ...]:
    """Return the names of the fields that an account and its row both have; an audit compares all of them."""
    return tuple(name for name in account.__struct_fields__ if name in row.__struct_fields__)


_MARKET = _shared(MarketAccount, MarketFold)
_POSITION = _shared(PositionAccount, PositionFold)
# The account's value of a field whose event has not happened yet, where the index has None.
_NONE_ON_CHAIN = dict.fromkeys((name for name in _MARKET if name.endswith("_at")), 0) | {
    "resolver": _NOBODY,
    "dispute_initiator": _NOBODY,
    "cancelled_at": None,
}


def _market_on_chain(account: MarketAccount) -> Facts:
    return {
        **{name: getattr(account, name) for name in _MARKET},
        "state": account.state.name,
        "ipfs_evidence_hash": account.ipfs_evidence_hash,
        "claimed_shares": account.notes.claimed_shares,
    }


def _market_indexed(market: MarketFold) -> Facts:
    values = {name: getattr(market, name) for name in _MARKET}
    return {
        **{name: _NONE_ON_CHAIN.get(name) if value is None else value for name, value in values.items()},
        "state": market.state.name,
        "ipfs_evidence_hash": market.evidence_cid or market.question_cid,
        "claimed_shares": market.claimed_shares,
    }


def _position_on_chain(account: PositionAccount) -> Facts:
    return {
        **{name: getattr(account, name) for name in _POSITION},
        "market": account.market,
        "wallet": account.user,
        "claimed_amount": account.claimed_amount,
    }


def _position_indexed(market: Address, position: PositionFold) -> Facts:
    return {
        **{name: getattr(position, name) for name in _POSITION},
        "market": market,
        "wallet": position.wallet,
        "claimed_amount": position.claimed_lamports,
    }
