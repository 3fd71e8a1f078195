"""Read the evidence for a market's tallies from the chain: the counts that were sent, and the votes cast on chain."""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec

from zmart.chain import absence
from zmart.chain.accounts import GlobalConfig, MarketAccount, VoteRecord
from zmart.chain.address_history import PAGE, newest_first
from zmart.chain.compose import MEMO_PROGRAM
from zmart.chain.config_check import check_program
from zmart.chain.event_extraction import extract_events, instruction_name, may_hide_calls
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.chain.rpc_types import SignatureInfo
from zmart.chain.transactions import ChainTransaction, TxInstruction, parse_transaction
from zmart.errors import ChainError, DecodeError, NotFound
from zmart.market.events import MarketFinalized, ProposalAggregated
from zmart.market.tally import Tally, TallyMemo, parse_memo
from zmart.market.types import Address, ChainTime, MarketId, Signature, Slot, VoteKind, Wallet

_VOTE_RECORD_BYTES = 83
_MARKET_OFFSET = 8
_MOST_PAGES = 100
_RECORDING = ("aggregate_proposal_votes", "finalize_market")


class Anchor(msgspec.Struct, frozen=True):
    """The counts that a transaction recorded on chain at chain time `at`; `memo` is None if it has no tally's memo."""

    kind: VoteKind
    tally: Tally
    signature: Signature
    at: ChainTime
    memo: TallyMemo | None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence about a market on chain: its account, the newest anchor of each kind, and all its VoteRecords.
    `clock_ahead_s` is by how many seconds the chain's clock is ahead of this machine's. `genesis_hash`: of the chain;
    empty if it was not asked for."""

    program: Address
    market_id: MarketId
    config: GlobalConfig
    account: MarketAccount
    anchors: Mapping[VoteKind, Anchor]
    vote_records: Mapping[tuple[VoteKind, Wallet], VoteRecord]
    clock_ahead_s: int = 0
    genesis_hash: str = ""


async def gather(rpc: Rpc, program: Program, market_id: MarketId) -> Evidence:
    """Read the evidence about a market from the RPC alone. Raises NotFound for an unknown market, ChainError if the
    RPC cannot return it, ConfigError for a wrong program."""
    config = await check_program(rpc, program)
    address = program.addresses.market(market_id)
    info = await absence.account([rpc], address)
    if info is None:
        raise NotFound(f"There is no market {market_id} at {address} on this cluster.")
    anchors: dict[VoteKind, Anchor] = {}
    history = await _history(rpc, address)
    reached = history[0].slot if history else None
    for line in await _of_both(rpc, history, Address(config.backend_authority), reached):
        raw = await rpc.get_transaction_json(line.signature)
        if raw is None:
            raise ChainError(
                f"The RPC lists transaction {line.signature}, and does not have it: try another RPC."
            )
        transaction = parse_transaction(raw)
        if _may_hide_counts(program, address, transaction):
            raise ChainError(
                f"The RPC does not show all that transaction {line.signature} did: try another RPC."
            )
        if anchor := _anchor(program, market_id, config, transaction):
            anchors.setdefault(anchor.kind, anchor)
    return Evidence(
        program=program.address,
        market_id=market_id,
        config=config,
        account=program.accounts.market(info),
        anchors=anchors,
        vote_records=await _vote_records(rpc, program, address, reached),
        clock_ahead_s=(await rpc.get_clock()).unix_timestamp - int(time.time()),
    )


async def _of_both(
    rpc: Rpc, of_market: list[SignatureInfo], authority: Address, reached: Slot | None
) -> list[SignatureInfo]:
    """Return which of a market's transactions succeeded and name the authority, too: only these record counts. The list
    of the authority is that of a node which has reached slot `reached`."""
    first = of_market[-1].slot if of_market else None
    by_authority = {line.signature for line in await _history(rpc, authority, first, reached)}
    return [line for line in of_market if line.signature in by_authority and line.err is None]


async def _history(
    rpc: Rpc, address: Address, floor: Slot | None = None, since: Slot | None = None
) -> list[SignatureInfo]:
    """Return the transactions that name an address, newest first, at least down to slot `floor` (None: all of them), by
    nodes that have reached slot `since`."""
    transactions: list[SignatureInfo] = []
    async for line in newest_first(rpc, address, _MOST_PAGES, since):
        if line is None:
            raise ChainError(
                f"{address} has more than {_MOST_PAGES * PAGE} transactions: its evidence is not complete."
            )
        transactions.append(line)
        if floor is not None and line.slot < floor:
            break
    return transactions


def _may_hide_counts(program: Program, market: Address, tx: ChainTransaction) -> bool:
    """Return whether the node may have omitted counts: the call that recorded them, or the event of that call."""
    if may_hide_calls(program, tx):
        return True
    lost = [item for _, item in extract_events(program, tx).lost if market in item.accounts]
    return any(instruction_name(program, item) in _RECORDING for item in lost)


def _anchor(
    program: Program, market_id: MarketId, config: GlobalConfig, tx: ChainTransaction
) -> Anchor | None:
    """Return the counts that a transaction recorded, from the event of the program; None if it recorded none."""
    memo = _memo(tx, config.backend_authority)
    for item in extract_events(program, tx).events:
        match item.event:
            case ProposalAggregated(market_id=about, likes=likes, dislikes=dislikes, timestamp=at):
                anchor = Anchor(VoteKind.PROPOSAL, Tally(likes, dislikes), tx.signature, at, memo)
            case MarketFinalized(
                market_id=about, dispute_agree=int(agree), dispute_disagree=int(disagree), timestamp=at
            ):
                anchor = Anchor(VoteKind.DISPUTE, Tally(agree, disagree), tx.signature, at, memo)
            case _:
                continue
        if about == market_id:
            return anchor
    return None


def _memo(tx: ChainTransaction, authority: Wallet) -> TallyMemo | None:
    """Return the tally's memo of a transaction that the authority signed; None without such a memo."""
    signed = [
        i for i in tx.instructions if i.program_id == str(MEMO_PROGRAM) and Address(authority) in i.accounts
    ]
    return next((memo for i in signed if (memo := parse_memo(_text(i))) is not None), None)


def _text(instruction: TxInstruction) -> str:
    try:
        return instruction.data.decode()
    except (DecodeError, UnicodeDecodeError):
        return ""


async def _vote_records(
    rpc: Rpc, program: Program, market: Address, since: Slot | None
) -> dict[tuple[VoteKind, Wallet], VoteRecord]:
    from solders.pubkey import Pubkey

    discriminator = program.accounts.discriminator(VoteRecord)
    filters = [(0, discriminator), (_MARKET_OFFSET, bytes(Pubkey.from_string(market)))]
    infos = await rpc.get_program_accounts(
        program.address, data_size=_VOTE_RECORD_BYTES, memcmp=filters, since=since
    )
    records = [program.accounts.vote_record(info) for info in infos]
    return {(record.vote_type, record.user): record for record in records}
