"""Decode inbox rows into transactions with their events, and find which of these need their position in the block."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from zmart.chain.digest import digest_of
from zmart.chain.event_extraction import HIDDEN_CALLS, NO_EVENTS, Extracted, extract_events, may_hide_calls
from zmart.chain.program import Program
from zmart.chain.transactions import ChainTransaction, parse_transaction
from zmart.errors import DecodeError, ZmartError
from zmart.market.events import ChainEvent
from zmart.market.types import Signature, Slot
from zmart.store.chain_events import Neighbour, TransactionRow
from zmart.store.inbox import InboxFailure, ReadyTransaction

_AT_A_STRETCH = 32
"""How many rows are decoded before the event loop may run other tasks: about 1 ms of work."""


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction of the program, decoded.

    `recovered` is the number of its events that its truncated log had lost and that were recovered.
    """

    row: TransactionRow
    events: list[ChainEvent]
    recovered: int = 0

    def at(self, index_in_block: int) -> Transaction:
        """Return a copy of the transaction and its events with this position in the block."""
        return msgspec.structs.replace(
            self,
            row=msgspec.structs.replace(self.row, index_in_block=index_in_block),
            events=[msgspec.structs.replace(e, index_in_block=index_in_block) for e in self.events],
        )

    def with_recovered(self, lost: Sequence[ChainEvent]) -> Transaction:
        """Return a copy of the transaction with `lost`, the recovered events, each where its ordinal puts it."""
        return Transaction(
            row=msgspec.structs.replace(self.row, event_count=len(self.events) + len(lost)),
            events=sorted([*self.events, *lost], key=lambda event: event.ordinal),
            recovered=len(lost),
        )


class TruncatedTransaction(msgspec.Struct, frozen=True):
    """A transaction whose truncated log lost events, and the events that the log still holds."""

    transaction: ChainTransaction
    extracted: Extracted


class Batch(msgspec.Struct):
    """Decoded rows of the inbox, and what happens to each of them when the batch is written.

    `rows` holds every row, by signature. `transactions` are the decoded ones that can be folded; `truncated` are the
    ones whose log lost events. `failures` name rows that cannot be indexed, with the reason. The other lists hold row
    ids. `deferred` rows are retried, for one of the `reasons`. `not_ours` rows do not concern the program.

    The rest is about webhook deliveries. `digests` holds the digest of each delivery that is folded, by signature.
    `reported_not_ours` deliveries do not call the program. `unproven` deliveries are discarded and fetched from our
    RPC, because their log lost events, they may hide calls, or the index has already passed their slot.
    """

    rows: dict[Signature, ReadyTransaction]
    transactions: list[Transaction] = msgspec.field(default_factory=list)
    truncated: dict[Signature, TruncatedTransaction] = msgspec.field(default_factory=dict)
    failures: list[InboxFailure] = msgspec.field(default_factory=list)
    not_ours: list[int] = msgspec.field(default_factory=list)
    deferred: list[int] = msgspec.field(default_factory=list)
    reasons: set[str] = msgspec.field(default_factory=set)
    unproven: list[int] = msgspec.field(default_factory=list)
    reported_not_ours: list[int] = msgspec.field(default_factory=list)
    digests: dict[Signature, bytes] = msgspec.field(default_factory=dict)

    @property
    def ids(self) -> list[int]:
        """The ids of the batch's inbox rows."""
        return [row.id for row in self.rows.values()]

    @property
    def settled(self) -> list[int]:
        """The ids of the rows that need no further work once the batch is written."""
        others = {failure.id for failure in self.failures}.union(
            self.not_ours, self.reported_not_ours, self.deferred, self.unproven
        )
        return [row.id for row in self.rows.values() if row.id not in others]

    def leave_out(self, signature: Signature) -> int:
        """Remove a transaction from `transactions` and return the id of its row, which stays in `rows`."""
        self.transactions = [t for t in self.transactions if t.row.signature != signature]
        return self.rows[signature].id


async def read(program: Program, rows: Sequence[ReadyTransaction], *, trusting: bool = False) -> Batch:
    """Decode the payloads of inbox rows into a batch.

    A payload that is not the transaction of its row becomes a failure, and the transaction is fetched again.
    `trusting` treats webhook deliveries as if our RPC had returned them: they need no confirmation.
    """
    batch = Batch({row.signature: row for row in rows})
    for position, row in enumerate(rows, 1):
        _read(program, batch, row, is_hint=row.delivered and not trusting)
        if position % _AT_A_STRETCH == 0:
            await asyncio.sleep(0)
    return batch


def _read(program: Program, batch: Batch, row: ReadyTransaction, *, is_hint: bool) -> None:
    try:
        transaction = parse_transaction(row.payload)
        if transaction.signature != row.signature:
            raise DecodeError(f"the payload is another transaction, {transaction.signature}")
    except DecodeError as error:
        batch.failures.append(InboxFailure(id=row.id, error=str(error), refetch=True))
        return
    if program.address not in [i.program_id for i in transaction.instructions]:
        _read_not_ours(program, batch, row, transaction, is_hint=is_hint)
        return
    if may_hide_calls(program, transaction):
        if is_hint:
            batch.unproven.append(row.id)
        else:
            batch.failures.append(InboxFailure(id=row.id, error=HIDDEN_CALLS, refetch=True))
        return
    extracted = extract_events(program, transaction)
    if is_hint:
        if extracted.lost:
            batch.unproven.append(row.id)
            return
        batch.digests[row.signature] = digest_of(transaction, extracted).packed()
    batch.transactions.append(_transaction(transaction, extracted))
    if extracted.lost:
        batch.truncated[row.signature] = TruncatedTransaction(transaction, extracted)


def _read_not_ours(
    program: Program, batch: Batch, row: ReadyTransaction, transaction: ChainTransaction, *, is_hint: bool
) -> None:
    """Sort a transaction without a visible call of the program into the batch.

    A webhook delivery is set aside. A transaction from our RPC that does not name the program is not ours; if the
    chain's listing names it all the same, it is fetched again. So is one whose inner instructions the node omitted.
    Any other is kept without events until it is final: on another fork the same transaction may call the program.
    """
    if is_hint:
        batch.reported_not_ours.append(row.id)
    elif not program.is_named_in(row.payload):
        _read_unnamed(batch, row)
    elif may_hide_calls(program, transaction):
        batch.failures.append(InboxFailure(id=row.id, error=HIDDEN_CALLS, refetch=True))
    else:
        batch.transactions.append(_transaction(transaction, NO_EVENTS))


def _read_unnamed(batch: Batch, row: ReadyTransaction) -> None:
    if not row.listed:
        batch.not_ours.append(row.id)
        return
    reason = "The chain lists this transaction as the program's, but what the node shows does not name the program."
    batch.failures.append(InboxFailure(id=row.id, error=reason, refetch=True))


def _transaction(chain_transaction: ChainTransaction, extracted: Extracted) -> Transaction:
    row = TransactionRow(
        signature=chain_transaction.signature,
        slot=chain_transaction.slot,
        index_in_block=chain_transaction.index_in_block,
        failed=chain_transaction.err is not None,
        event_count=len(extracted.events),
        unknown_events=extracted.unknown,
        undecodable=extracted.undecodable,
    )
    return Transaction(row=row, events=extracted.events)


class BlockOrder(msgspec.Struct, frozen=True):
    """The positions of transactions in their blocks, as far as they matter for the order of events.

    `positions` holds the index in the block, by signature, of each transaction that had none or a different one.
    `missing` holds the slots whose blocks must be read first, with the signatures whose positions are needed.
    """

    positions: dict[Signature, int]
    missing: dict[Slot, set[Signature]]


def order(
    transactions: Iterable[Transaction],
    neighbours: Iterable[Neighbour],
    blocks: Mapping[Slot, Mapping[Signature, int]],
    unreadable: Collection[Signature] = (),
) -> BlockOrder:
    """Return the positions that transactions need in their blocks, and those that must be read first.

    A position is needed only in a slot that holds several transactions with events, one of them without a position.
    `neighbours` are the indexed transactions of the same slots. `blocks` holds the positions read so far, by slot and
    signature. `unreadable` transactions are not requested: their blocks were read in vain.
    """
    by_slot: dict[Slot, dict[Signature, int | None]] = {}
    for transaction in transactions:
        if transaction.events:
            row = transaction.row
            by_slot.setdefault(row.slot, {})[row.signature] = row.index_in_block
    for neighbour in neighbours:
        by_slot.setdefault(neighbour.slot, {}).setdefault(neighbour.signature, neighbour.index_in_block)
    block_order = BlockOrder({}, {})
    for slot, members in by_slot.items():
        if len(members) == 1 or None not in members.values():
            continue
        block = blocks.get(slot, {})
        if requested := members.keys() - block.keys() - set(unreadable):
            block_order.missing[slot] = requested
        else:
            block_order.positions.update(
                {s: block[s] for s, index in members.items() if block.get(s, index) != index}
            )
    return block_order


class OrderUnknown(ZmartError):
    """Report that a batch needs positions of blocks that have not been read; `requested` names them by slot."""

    def __init__(self, requested: Mapping[Slot, set[Signature]]) -> None:
        super().__init__(f"the order inside {len(requested)} slots is not known")
        self.requested = requested
