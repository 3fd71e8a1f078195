"""Recover the events that a truncated log lost: from the instructions, the accounts that they changed and the fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from zmart.chain.accounts import AccountInfo, MarketAccount, PositionAccount
from zmart.chain.event_extraction import Extracted
from zmart.chain.instructions import DecodedInstruction
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.chain.transactions import ChainTransaction, TxInstruction
from zmart.errors import ChainError, DecodeError
from zmart.market import events as e
from zmart.market.fold_config import UPDATED_FIELDS
from zmart.market.types import Address, Bps, ChainTime, Slot, Wallet

_INITIAL_PROTOCOL_FEE = Bps(300)
_SIGNATURES = 1000
_FIRST_BLOCK = ChainTime(1_584_000_000)
"""About the time of Solana's first block, in March 2020; a smaller block time is in another unit and is ignored."""


class Unrecoverable(DecodeError):
    """Report an instruction that this version, or its IDL, does not know: another attempt cannot succeed."""


class TruncatedInstruction(msgspec.Struct, frozen=True):
    """An instruction of a truncated transaction whose event is missing.

    `accounts` holds addresses by their names in the IDL. `market` and `position` are the accounts as they are now;
    None if the RPC does not have them or the instruction does not use them. `time` is when the transaction ran, in Unix
    seconds; None if that is unknown.
    """

    call: DecodedInstruction
    accounts: Mapping[str, Address]
    market: MarketAccount | None
    position: PositionAccount | None
    time: ChainTime | None

    def wallet(self, name: str) -> Wallet:
        """Return the address of the account that the IDL calls `name`, as a wallet."""
        return Wallet(self.accounts[name])

    @property
    def of_market(self) -> MarketAccount:
        """The account of the instruction's market. Raises ChainError if the RPC does not have it."""
        if self.market is None:
            raise ChainError(f"The account of a market is not there (yet), {self.call.name} needs it.")
        return self.market

    def at(self, own: ChainTime | None = None) -> ChainTime:
        """Return when the instruction ran, in Unix seconds.

        That is the transaction's time, else `own`, the time that the account records. Raises ChainError if neither is
        known.
        """
        time = self.time or own
        if not time:
            raise ChainError(f"No account tells (yet) when {self.call.name} ran.")
        return time


class Recovery:
    """Recover the events that a truncated log lost, one for each instruction in `extracted.lost`."""

    def __init__(self, rpc: Rpc, program: Program) -> None:
        self._rpc = rpc
        self._program = program

    async def events(self, tx: ChainTransaction, extracted: Extracted) -> list[e.ChainEvent]:
        """Return the events of a transaction that its log lost, in the order of their instructions.

        Raises Unrecoverable for an unknown instruction, and ChainError when an account cannot be read now or does not
        show the instruction's effect yet.
        """
        calls = [self._call(instruction) for _, instruction in extracted.lost]
        accounts = await self._accounts([named for _, named in calls], tx.slot)
        time = _time(extracted.events) or await self._block_time(tx)
        return [
            e.ChainEvent(
                signature=tx.signature,
                ordinal=ordinal,
                slot=tx.slot,
                index_in_block=tx.index_in_block,
                event=_event(self._lost(call, named, accounts, time)),
            )
            for (ordinal, _), (call, named) in zip(extracted.lost, calls, strict=True)
        ]

    def _call(self, instruction: TxInstruction) -> tuple[DecodedInstruction, dict[str, Address]]:
        try:
            call = self._program.instructions.decode(instruction.data)
        except DecodeError as error:
            raise Unrecoverable(f"Its log is truncated, and an instruction is unknown: {error}") from error
        if call.name not in _KNOWN and call.name not in _UNLOGGED:
            raise Unrecoverable(f"Its log is truncated, and this version does not know {call.name}.")
        items = self._program.idl.instructions[call.name].accounts
        if len(instruction.accounts) < len(items):
            raise Unrecoverable(f"Its log is truncated, and a {call.name} names too few accounts.")
        return call, {i.name: a for i, a in zip(items, instruction.accounts, strict=False)}

    async def _accounts(
        self, named: Sequence[Mapping[str, Address]], since: Slot
    ) -> dict[Address, AccountInfo]:
        requested = list({n[name] for n in named for name in ("market", "position") if name in n})
        accounts = await self._rpc.get_multiple_accounts(requested, since=since) if requested else []
        return {info.address: info for info in accounts if info is not None}

    def _lost(
        self,
        call: DecodedInstruction,
        named: Mapping[str, Address],
        accounts: Mapping[Address, AccountInfo],
        time: ChainTime | None,
    ) -> TruncatedInstruction:
        market, position = accounts.get(named.get("market", Address(""))), None
        if call.name == "claim_winnings":
            position = accounts.get(named["position"])
        codec = self._program.accounts
        return TruncatedInstruction(
            call,
            named,
            codec.market(market) if market else None,
            codec.position(position) if position else None,
            time,
        )

    async def _block_time(self, tx: ChainTransaction) -> ChainTime | None:
        """Return the time of the transaction's block, which is the Clock that its programs saw; None if unknown.

        It comes from getSignaturesForAddress, the only method in which Surfpool reports it correctly.
        """
        page = await self._rpc.get_signatures_for_address(self._program.address, limit=_SIGNATURES)
        near = next((info for info in page if info.signature == tx.signature), None)
        block_time = near.block_time if near else tx.block_time
        return block_time if block_time and block_time > _FIRST_BLOCK else None


def _time(events: Sequence[e.ChainEvent]) -> ChainTime | None:
    for item in events:
        event = item.event
        return event.cancelled_at if isinstance(event, e.MarketCancelled) else event.timestamp
    return None


def _event(lost: TruncatedInstruction) -> e.StoredEvent:
    known = _KNOWN.get(lost.call.name)
    return known(lost) if known else _UNLOGGED[lost.call.name](lost)


def _created(lost: TruncatedInstruction) -> e.StoredEvent:
    account = lost.of_market
    return e.MarketCreated(
        market_id=account.market_id,
        creator=account.creator,
        b_parameter=account.b_parameter,
        state=0,
        timestamp=account.created_at,
        initial_liquidity=account.initial_liquidity,
        ipfs_question_hash=str(lost.call.args["ipfs_question_hash"]),
    )


def _voted(
    kind: type[e.ProposalVoteSubmitted | e.DisputeVoteSubmitted],
) -> Callable[[TruncatedInstruction], e.StoredEvent]:
    return lambda lost: kind(
        market_id=lost.of_market.market_id,
        user=lost.wallet("user"),
        vote=bool(lost.call.args["vote"]),
        timestamp=lost.at(),
    )


def _activated(lost: TruncatedInstruction) -> e.StoredEvent:
    account = lost.of_market
    return e.MarketActivated(
        market_id=account.market_id,
        creator=account.creator,
        initial_liquidity=account.initial_liquidity,
        timestamp=lost.at(account.activated_at),
    )


def _resolved(lost: TruncatedInstruction) -> e.StoredEvent:
    account = lost.of_market
    return e.MarketResolved(
        market_id=account.market_id,
        resolver=lost.wallet("resolver"),
        outcome=bool(lost.call.args["proposed_outcome"]),
        evidence_hash=str(lost.call.args["ipfs_evidence_hash"]),
        timestamp=lost.at(account.resolution_proposed_at),
    )


def _finalized(lost: TruncatedInstruction) -> e.StoredEvent:
    account, args = lost.of_market, lost.call.args
    if not account.finalized_at:
        raise ChainError("The account of a market is behind its finalization.")
    counts = (args["dispute_agree"], args["dispute_disagree"]) if account.was_disputed else (None, None)
    agree, disagree = (None if n is None else int(str(n)) for n in counts)
    return e.MarketFinalized(
        market_id=account.market_id,
        final_outcome=account.final_outcome,
        was_disputed=account.was_disputed,
        timestamp=account.finalized_at,
        dispute_agree=agree,
        dispute_disagree=disagree,
    )


def _claimed(lost: TruncatedInstruction) -> e.StoredEvent:
    account, position = lost.of_market, lost.position
    if position is None or not position.has_claimed:
        raise ChainError("The account of a position is behind its claim.")
    return e.WinningsClaimed(
        market=lost.accounts["market"],
        user=position.user,
        outcome=account.final_outcome,
        amount=position.claimed_amount,
        timestamp=lost.at(),
    )


_KNOWN: Mapping[str, Callable[[TruncatedInstruction], e.StoredEvent]] = {
    "initialize_global_config": lambda lost: e.GlobalConfigInitialized(
        admin=lost.wallet("admin"),
        backend_authority=Wallet(str(lost.call.args["backend_authority"])),
        protocol_fee_bps=_INITIAL_PROTOCOL_FEE,
        timestamp=lost.at(),
    ),
    "create_market": _created,
    "submit_proposal_vote": _voted(e.ProposalVoteSubmitted),
    "approve_proposal": lambda lost: e.ProposalApproved(
        market_id=lost.of_market.market_id,
        approved_by=lost.wallet("admin"),
        timestamp=lost.at(lost.of_market.approved_at),
    ),
    "activate_market": _activated,
    "resolve_market": _resolved,
    "initiate_dispute": lambda lost: e.DisputeInitiated(
        market_id=lost.of_market.market_id,
        initiator=lost.wallet("initiator"),
        disputed_outcome=lost.of_market.proposed_outcome,
        timestamp=lost.at(lost.of_market.dispute_initiated_at),
    ),
    "submit_dispute_vote": _voted(e.DisputeVoteSubmitted),
    "finalize_market": _finalized,
    "claim_winnings": _claimed,
    "cancel_market": lambda lost: e.MarketCancelled(
        market_id=lost.of_market.market_id,
        cancelled_by=lost.wallet("admin"),
        cancelled_at=lost.at(lost.of_market.cancelled_at),
    ),
}
"""How to build the event of an instruction whose event follows from its arguments and accounts alone."""


def _unlogged(
    instruction: e.UnloggedInstruction, signer: str, *arguments: str
) -> Callable[[TruncatedInstruction], e.StoredEvent]:
    def event(lost: TruncatedInstruction) -> e.StoredEvent:
        values = {name: lost.call.args[name] for name in arguments}
        return e.Unlogged(
            instruction=instruction,
            market_id=lost.of_market.market_id if "market" in lost.accounts else None,
            user=lost.wallet(signer),
            arguments=msgspec.convert(values, dict[str, bool | int | None]),
            timestamp=lost.at(),
        )

    return event


_UNLOGGED: Mapping[str, Callable[[TruncatedInstruction], e.StoredEvent]] = {
    "buy_shares": _unlogged("buy_shares", "user", "outcome", "target_cost"),
    "sell_shares": _unlogged("sell_shares", "user", "outcome", "shares_to_sell"),
    "withdraw_liquidity": _unlogged("withdraw_liquidity", "creator"),
    "aggregate_proposal_votes": _unlogged(
        "aggregate_proposal_votes", "backend_authority", "final_likes", "final_dislikes"
    ),
    "aggregate_dispute_votes": _unlogged(
        "aggregate_dispute_votes", "backend_authority", "final_agrees", "final_disagrees"
    ),
    "update_global_config": _unlogged("update_global_config", "admin", *UPDATED_FIELDS),
    "emergency_pause": _unlogged("emergency_pause", "admin"),
}
"""How to build the event of an instruction that also depends on the market or config before it.

The event is an Unlogged, which the fold completes.
"""
