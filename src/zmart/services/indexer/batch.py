"""Inbox rows to transactions with their events, and what must be known of their order inside a slot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from zmart.chain.program import Program
from zmart.chain.transactions import ChainTransaction, extract_events, parse_transaction
from zmart.errors import DecodeError, ZmartError
from zmart.market.events import ChainEvent
from zmart.market.types import Signature, Slot
from zmart.store.chain_events import Neighbour, TransactionRow
from zmart.store.inbox import Failure, Ready


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction of the program. `cut`: its log is incomplete, events may be missing."""

    row: TransactionRow
    events: list[ChainEvent]
    cut: bool

    def at(self, index_in_block: int) -> Transaction:
        """The same with its place in the block known."""
        return msgspec.structs.replace(
            self,
            row=msgspec.structs.replace(self.row, index_in_block=index_in_block),
            events=[msgspec.structs.replace(e, index_in_block=index_in_block) for e in self.events],
        )


class Batch(msgspec.Struct):
    """Claimed rows, read. `rows` holds all of them by signature; those in `failures` are not to be settled."""

    rows: dict[Signature, Ready]
    transactions: list[Transaction]
    failures: list[Failure]

    @property
    def settled(self) -> list[int]:
        failed = {failure.id for failure in self.failures}
        return [row.id for row in self.rows.values() if row.id not in failed]


def read(program: Program, rows: Sequence[Ready]) -> Batch:
    """Decode the payloads. One that is no transaction is asked for again by RPC; a foreign one is settled
    without a trace."""
    batch = Batch({row.signature: row for row in rows}, [], [])
    for row in rows:
        try:
            found = parse_transaction(row.payload)
            if found.signature != row.signature:
                raise DecodeError(f"the payload is another transaction, {found.signature}")
        except DecodeError as error:
            batch.failures.append(Failure(id=row.id, error=str(error), refetch=True))
            continue
        transaction = _transaction(program, found)
        if transaction is None:
            continue
        batch.transactions.append(transaction)
        if transaction.cut:
            batch.failures.append(Failure(id=row.id, error=_CUT, hopeless=True))
    return batch


_CUT = "The node cut this transaction's log: events of it may be missing. `zmart indexer audit` shows which."


def _transaction(program: Program, found: ChainTransaction) -> Transaction | None:
    ours = sum(1 for i in found.instructions if i.program_id == program.address)
    if ours == 0:
        return None
    extracted = extract_events(program, found)
    told = len(extracted.events) + extracted.unknown
    row = TransactionRow(
        signature=found.signature,
        slot=found.slot,
        index_in_block=found.index_in_block,
        failed=found.err is not None,
        event_count=len(extracted.events),
        unknown_events=extracted.unknown,
    )
    # Every instruction of the program emits exactly one event, so a cut log may still hold all of them.
    return Transaction(row=row, events=extracted.events, cut=extracted.needs_account_fallback and told < ours)


class Order(msgspec.Struct, frozen=True):
    """`places` of transactions that had none; `missing` slots whose blocks must be asked for first."""

    places: dict[Signature, int]
    missing: set[Slot]


def order(
    transactions: Iterable[Transaction],
    neighbours: Iterable[Neighbour],
    blocks: Mapping[Slot, Mapping[Signature, int]],
) -> Order:
    """Which places in a block are needed: those in slots that hold more than one transaction with events."""
    by_slot: dict[Slot, dict[Signature, int | None]] = {}
    for transaction in transactions:
        if transaction.events:
            row = transaction.row
            by_slot.setdefault(row.slot, {})[row.signature] = row.index_in_block
    for neighbour in neighbours:
        by_slot[neighbour.slot].setdefault(neighbour.signature, neighbour.index_in_block)
    found = Order({}, set())
    for slot, members in by_slot.items():
        unplaced = [signature for signature, index in members.items() if index is None]
        if len(members) == 1 or not unplaced:
            continue
        block = blocks.get(slot, {})
        if all(signature in block for signature in unplaced):
            found.places.update({signature: block[signature] for signature in unplaced})
        else:
            found.missing.add(slot)
    return found


class OrderUnknown(ZmartError):
    """The batch needs blocks that have not been read yet."""

    def __init__(self, wanted: Mapping[Slot, set[Signature]]) -> None:
        super().__init__(f"the order inside {len(wanted)} slots is not known")
        self.wanted = wanted
