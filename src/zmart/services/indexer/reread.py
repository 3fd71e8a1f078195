"""Put transactions whose payloads could not be decoded back into the inbox, for a version that can."""

from __future__ import annotations

from zmart.services.indexer.engine import Engine
from zmart.store import chain_events, inbox, index_progress
from zmart.store.inbox import Hint

_AT_ONCE = 1000


async def reread(engine: Engine) -> int:
    """Put all transactions with undecodable payloads back into the inbox, and return their number.

    Their events are removed from the index until a worker has indexed them again, moments later.
    """
    done = 0
    while signatures := await chain_events.unknown(engine.pool, _AT_ONCE):
        async with engine.pool.transaction() as connection:
            await index_progress.lock_writer(connection)
            slots = await chain_events.slots_of(connection, signatures)
            affected = await chain_events.remove(connection, signatures)
            await engine.projector.refold_affected(connection, affected)
            await inbox.store(
                connection, "scan", [Hint(signature, slot, None) for signature, slot in slots.items()]
            )
        done += len(signatures)
    return done
