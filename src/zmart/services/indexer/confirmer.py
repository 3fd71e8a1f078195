"""Compare webhook deliveries with the transactions that our own RPC returns, and replace those that differ.

A delivery is folded at once. Until it is confirmed here it cannot become final, and the gap-free slot waits for it.
Unconfirmed deliveries are stored in the database, so a process that dies loses none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec
import structlog

from zmart.chain.digest import differences, digest_of, unpacked
from zmart.chain.event_extraction import HIDDEN_CALLS, extract_events, may_hide_calls
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.chain.transactions import parse_transaction
from zmart.errors import ChainError, DecodeError
from zmart.market.times import iso
from zmart.market.types import Signature, Slot
from zmart.services.indexer import metrics
from zmart.services.indexer.blocks import Blocks, Unplaced
from zmart.services.indexer.lease import LEASE_S, renewing
from zmart.services.indexer.listing import Pace
from zmart.services.indexer.projector import Projector
from zmart.services.indexer.wake_signal import WakeSignal
from zmart.store import chain_events, deliveries, inbox, index_progress
from zmart.store.chain_events import Neighbour
from zmart.store.deliveries import UnconfirmedDelivery
from zmart.store.inbox import UNAVAILABLE_PAUSE_S, Hint
from zmart.store.pool import Connection, Pool
from zmart.store.retrying import Outages, retrying

_AT_ONCE = 16
_TAKEN = 64
_IDLE_S = 0.5
_LONGEST_PAUSE_S = 60.0
POSITION = "place in its block"
log = structlog.get_logger()


class _RpcUnavailable(str):
    """The reason why the RPC could not be asked.

    A plain str is the reason why the RPC's answer does not confirm the delivery.
    """


class _RpcTransaction(msgspec.Struct, frozen=True):
    """A delivered transaction as our RPC returns it.

    `raw` is its JSON. `differs` names the parts in which the delivery differs; it is empty if both agree.
    """

    raw: bytes
    slot: Slot
    differs: list[str]


class Confirmer:
    """Confirm webhook deliveries with our own RPC, and replace those that differ."""

    def __init__(
        self,
        pool: Pool,
        rpc: Rpc,
        program: Program,
        projector: Projector,
        blocks: Blocks,
        pace: Pace,
        timeout_s: float,
    ) -> None:
        self._pool = pool
        self._rpc = rpc
        self._program = program
        self._projector = projector
        self._pace = pace
        self._timeout_s = timeout_s
        self._blocks = blocks
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def run(self, signal: WakeSignal, outages: Outages) -> None:
        """Confirm deliveries until the service stops; a wake of `signal` ends a pause early."""
        await retrying(self._turn_then_pause, signal, "Confirming deliveries", outages)

    async def _turn_then_pause(self) -> float:
        if await self.turn():
            return 0.0
        due_s = await deliveries.next_due_s(self._pool)
        return _IDLE_S if due_s is None else min(due_s, _IDLE_S)

    async def turn(self) -> int:
        """Compare up to 64 deliveries with the RPC and return how many were requested.

        A lease keeps other processes off these deliveries. After a crash it ends within LEASE_S seconds.
        """
        taken = await deliveries.claim(self._pool, _TAKEN, LEASE_S)
        if not taken:
            return 0
        async with renewing(partial(deliveries.renew, self._pool, taken)):
            answers = await asyncio.gather(*(self._ask(delivery) for delivery in taken))
        results = list(zip(taken, answers, strict=True))
        unanswered = [(delivery, answer) for delivery, answer in results if isinstance(answer, str)]
        unanswered += await self._confirm(
            [d for d, a in results if isinstance(a, _RpcTransaction) and not a.differs]
        )
        silent = [pair for pair in unanswered if isinstance(pair[1], _RpcUnavailable)]
        await deliveries.unanswered(self._pool, silent, UNAVAILABLE_PAUSE_S)
        others = [pair for pair in unanswered if not isinstance(pair[1], _RpcUnavailable)]
        await deliveries.unanswered(self._pool, others, _LONGEST_PAUSE_S)
        for delivery, answer in results:
            if isinstance(answer, _RpcTransaction) and answer.differs:
                await self._correct(delivery, answer)
        if unanswered:
            log.warning("deliveries not confirmed", number=len(unanswered), reason=unanswered[0][1])
        return len(taken)

    async def _ask(self, delivery: UnconfirmedDelivery) -> _RpcTransaction | str:
        """Request a delivered transaction from our RPC and compare the two.

        Return the reason instead if the RPC cannot be asked, does not know the transaction or sends an invalid answer.
        """
        async with self._gate:
            await self._pace.turn()
            metrics.CONFIRMATION_CALLS.inc()
            try:
                async with asyncio.timeout(self._timeout_s):
                    raw = await self._rpc.get_transaction_json(delivery.signature)
            except (ChainError, TimeoutError) as error:
                return _RpcUnavailable(str(error) or "The RPC did not answer in time.")
        return (
            "The RPC does not know this transaction (yet)." if raw is None else self._compare(delivery, raw)
        )

    def _compare(self, delivery: UnconfirmedDelivery, raw: bytes) -> _RpcTransaction | str:
        try:
            transaction = parse_transaction(raw)
            own = digest_of(transaction, extract_events(self._program, transaction))
        except (DecodeError, RecursionError, OverflowError) as error:
            return f"The RPC's answer cannot be used: {error}"
        if transaction.signature != delivery.signature:
            return f"The RPC answered with another transaction, {transaction.signature}."
        if may_hide_calls(self._program, transaction):
            return HIDDEN_CALLS
        return _RpcTransaction(raw, transaction.slot, differences(unpacked(delivery.digest), own))

    async def _confirm(self, same: Sequence[UnconfirmedDelivery]) -> list[tuple[UnconfirmedDelivery, str]]:
        """Mark deliveries that agree with the RPC as confirmed, once their position in the block is checked, too.

        Return the deliveries whose position cannot be checked now, with the reason.
        """
        unreadable = await self._check_positions(same)
        await deliveries.confirmed(self._pool, [d for d in same if d.signature not in unreadable])
        metrics.CONFIRMED.inc(len(same) - len(unreadable))
        return [(d, unreadable[d.signature].reason) for d in same if d.signature in unreadable]

    async def _check_positions(self, same: Sequence[UnconfirmedDelivery]) -> dict[Signature, Unplaced]:
        """Check the positions of transactions in slots that hold several of them, and correct those that are wrong.

        The blocks are read for it: a webhook reports the position in the block, getTransaction does not. Return those
        of `same` whose position is unknown for now, with the reason.
        """
        by_slot: dict[Slot, list[Neighbour]] = {}
        for neighbour in await chain_events.neighbours(self._pool, {d.slot for d in same}):
            by_slot.setdefault(neighbour.slot, []).append(neighbour)
        shared = {slot: members for slot, members in by_slot.items() if len(members) > 1}
        if not shared:
            return {}
        unreadable = await self._read_blocks(shared)
        for slot, members in shared.items():
            positions = self._blocks.positions.get(slot, {})
            wrong = [m for m in members if positions.get(m.signature, m.index_in_block) != m.index_in_block]
            if wrong:
                await self._move(wrong, positions, {d.signature: d for d in same})
        return {d.signature: unreadable[d.signature] for d in same if d.signature in unreadable}

    async def _read_blocks(self, shared: Mapping[Slot, Sequence[Neighbour]]) -> dict[Signature, Unplaced]:
        known = self._blocks.positions
        requested = {
            slot: {m.signature for m in members} - known.get(slot, {}).keys()
            for slot, members in shared.items()
        }
        requested = {slot: names for slot, names in requested.items() if names}
        for _ in requested:
            await self._pace.turn()
            metrics.CONFIRMATION_CALLS.inc()
        return await self._blocks.read(requested)

    async def _move(
        self,
        wrong: Sequence[Neighbour],
        positions: dict[Signature, int],
        delivered: dict[Signature, UnconfirmedDelivery],
    ) -> None:
        right = [Neighbour(m.slot, m.signature, positions[m.signature]) for m in wrong]
        async with self._pool.transaction() as connection:
            await index_progress.lock_writer(connection)
            await chain_events.set_positions(connection, right)
            affected = await chain_events.affected_by(connection, [m.signature for m in right])
            await self._projector.refold_affected(connection, affected)
            for member in wrong:
                if member.index_in_block is not None and member.signature in delivered:
                    await self._note(connection, delivered[member.signature], [POSITION])

    async def _correct(self, delivery: UnconfirmedDelivery, own: _RpcTransaction) -> None:
        """Remove a false delivery from the index and store the RPC's transaction in the inbox instead.

        It counts as listed by the chain if it is, or if it names the program: otherwise it may be a foreign transaction
        that was made to look like one of the program. The change feed reports the removal and, once the transaction is
        folded, its effect.
        """
        async with self._pool.transaction() as connection:
            await index_progress.lock_writer(connection)
            is_listed = await deliveries.withdraw(connection, delivery)
            if is_listed is None:
                return
            affected = await chain_events.remove(connection, [delivery.signature])
            source: inbox.Source = "scan" if is_listed or self._program.is_named_in(own.raw) else "logs"
            await inbox.store(connection, source, [Hint(delivery.signature, own.slot, own.raw)])
            await self._projector.refold_affected(connection, affected)
            await self._note(connection, delivery, own.differs)

    async def _note(self, connection: Connection, delivery: UnconfirmedDelivery, differs: list[str]) -> None:
        await deliveries.note(connection, delivery, differs)
        metrics.FALSE_DELIVERIES.inc()
        log.error(
            "a webhook delivered what the chain does not say",
            signature=delivery.signature,
            received_at=iso(delivery.received_at),
            differs=differs,
        )
