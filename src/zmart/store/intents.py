"""Store intents: effects on chain, planned once for each (market, action, round), executed by one process at a time.

The usual states follow each other: planned, signed, sent, landed. The other states are dead (every signed transaction
has expired and none is in flight, so the intent may be signed again), already_done (the account on chain showed the
effect), failed (the program refused it, or the votes did not allow what an operator asked for; a later attempt may sign
it again) and uncertain (the transaction may have landed; a later attempt or a person decides).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from uuid import UUID

import msgspec

from zmart.errors import NotFound, StoreError
from zmart.market.types import MarketId, Signature, Slot
from zmart.store.clock_set_back import lies_ahead
from zmart.store.error_text import storable
from zmart.store.market_work import MAY_GO_ON
from zmart.store.pool import Connection, Pool, Record
from zmart.store.session_locks import Database

_COLUMNS = """id, market_id, action, round, arguments, state, attempts, signature, raw_transaction,
last_valid_block_height, landed_slot, error_code, error_name, error, created_at, updated_at"""
_PLAN = """
INSERT INTO intents (market_id, action, round, arguments) VALUES ($1, $2, $3, $4)
ON CONFLICT (market_id, action, round) DO NOTHING
"""
_OF_ROUND = f"SELECT {_COLUMNS} FROM intents WHERE (market_id, action, round) = ($1, $2, $3)"
_ONE = f"SELECT {_COLUMNS} FROM intents WHERE id = $1"
_OPEN = f"""
SELECT {_COLUMNS} FROM intents i
WHERE state IN ('planned', 'signed', 'sent', 'dead', 'uncertain') AND action = ANY($1)
  AND (updated_at <= now() - make_interval(secs => $2) OR {lies_ahead("updated_at")})
  AND NOT EXISTS (SELECT FROM market_work w WHERE w.market_id = i.market_id AND NOT {MAY_GO_ON})
ORDER BY created_at, id LIMIT $3
"""
_RECENT = f"""
SELECT {_COLUMNS} FROM intents
WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR market_id = $2)
ORDER BY created_at DESC, id LIMIT $3
"""
_SIGNATURES = """
SELECT signature, attempt, last_valid_block_height, signed_at, verdict FROM intent_signatures
WHERE intent_id = $1 ORDER BY attempt, signed_at
"""
_COUNT_BY_STATE = "SELECT state, count(*) AS intents FROM intents GROUP BY state"
_SAVE_SIGNED = """
WITH intent AS (
    UPDATE intents SET state = 'signed', attempts = attempts + 1, signature = $2, raw_transaction = $3,
           last_valid_block_height = $4, error_code = NULL, error_name = NULL, error = NULL, updated_at = now()
    WHERE id = $1 RETURNING id, attempts)
INSERT INTO intent_signatures (signature, intent_id, attempt, raw_transaction, last_valid_block_height)
SELECT $2, id, attempts, $3, $4 FROM intent RETURNING intent_id
"""
_SENT = "UPDATE intents SET state = 'sent', updated_at = now() WHERE id = $1 AND signature = $2 RETURNING id"
_JUDGED = """
WITH judged AS (UPDATE intent_signatures SET verdict = $3 WHERE signature = $2)
UPDATE intents SET state = $3, landed_slot = $4, error = NULL, updated_at = now() WHERE id = $1 RETURNING id
"""
_FAILED = """
WITH judged AS (
    UPDATE intent_signatures s SET verdict = 'failed' FROM intents i
    WHERE i.id = $1 AND s.signature = i.signature AND i.state IN ('sent', 'uncertain'))
UPDATE intents SET state = 'failed', error_code = $2, error_name = $3, error = $4, updated_at = now()
WHERE id = $1 RETURNING id
"""
_STATE = "UPDATE intents SET state = $2, error = $3, updated_at = now() WHERE id = $1 RETURNING id"
_REOPEN = """
UPDATE intents SET state = CASE WHEN signature IS NULL OR state = 'failed' THEN 'planned' ELSE 'sent' END,
       landed_slot = NULL, updated_at = now()
WHERE id = $1 RETURNING id
"""


class Action(Enum):
    """The instructions that intents send, by their names in the program."""

    AGGREGATE_PROPOSAL_VOTES = "aggregate_proposal_votes"
    APPROVE_PROPOSAL = "approve_proposal"
    FINALIZE_MARKET = "finalize_market"
    CANCEL_MARKET = "cancel_market"


class IntentState(Enum):
    """The states of an intent, described at the top of this module."""

    PLANNED = "planned"
    SIGNED = "signed"
    SENT = "sent"
    LANDED = "landed"
    ALREADY_DONE = "already_done"
    DEAD = "dead"
    FAILED = "failed"
    UNCERTAIN = "uncertain"

    @property
    def is_done(self) -> bool:
        """Whether the intent's effect is on chain: landed or already_done."""
        return self in (IntentState.LANDED, IntentState.ALREADY_DONE)


Arguments = Mapping[str, int | str]


class IntentRow(msgspec.Struct, frozen=True, kw_only=True):
    """An intent. `signature`, `raw_transaction` and `last_valid_block_height` are those of the newest signing, None
    before the first; `attempts` is the number of signings. `error_code` and `error_name`: the program's error."""

    id: UUID
    market_id: MarketId
    action: Action
    round: int
    arguments: Arguments
    state: IntentState
    attempts: int
    signature: Signature | None
    raw_transaction: bytes | None
    last_valid_block_height: int | None
    landed_slot: Slot | None
    error_code: int | None
    error_name: str | None
    error: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def in_flight(self) -> bool:
        """Whether the newest signed transaction may still land, by the state in the journal."""
        return self.signature is not None and self.state in (
            IntentState.SIGNED,
            IntentState.SENT,
            IntentState.UNCERTAIN,
        )


class IntentSignature(msgspec.Struct, frozen=True):
    """One signing of an intent. `attempt` counts from 1. `verdict` is the state that the transaction ended in, such as
    landed or dead; None until it is judged."""

    signature: Signature
    attempt: int
    last_valid_block_height: int
    signed_at: datetime
    verdict: str | None


async def plan(
    db: Pool | Connection, market_id: MarketId, action: Action, round_: int, arguments: Arguments
) -> IntentRow:
    """Return the intent of (market, action, round), inserted now unless it exists. An existing intent keeps its
    arguments."""
    encoded = msgspec.json.encode(arguments).decode()
    await db.execute(_PLAN, market_id, action.value, round_, encoded)
    intent = await of_round(db, market_id, action, round_)
    assert intent is not None
    return intent


async def of_round(
    db: Pool | Connection, market_id: MarketId, action: Action, round_: int
) -> IntentRow | None:
    """Return the intent of (market, action, round); None if it was not planned."""
    row = await db.fetchrow(_OF_ROUND, market_id, action.value, round_)
    return None if row is None else _intent(row)


async def one(db: Database, intent_id: UUID) -> IntentRow:
    """Return the intent with this id. Raises NotFound if there is none."""
    row = await db.fetchrow(_ONE, intent_id)
    if row is None:
        raise NotFound(f"There is no intent {intent_id}: `zmart intents list` shows them.")
    return _intent(row)


async def open_intents(
    db: Pool | Connection, actions: Sequence[Action], untouched_s: float = 0.0, limit: int = 1_000
) -> list[IntentRow]:
    """Return up to `limit` intents of `actions` that may still be executed, the oldest first. Their state is
    planned, signed, sent, dead or uncertain, and they were not changed for `untouched_s` seconds. Intents of a
    market with a job that pauses are left out."""
    names = [action.value for action in actions]
    return [_intent(row) for row in await db.fetch(_OPEN, names, untouched_s, limit)]


async def recent(
    db: Pool | Connection,
    limit: int,
    *,
    state: IntentState | None = None,
    market_id: MarketId | None = None,
) -> list[IntentRow]:
    """Return up to `limit` intents, the newest first. With `state` or `market_id`, only intents of that state or
    market are returned."""
    rows = await db.fetch(_RECENT, state.value if state else None, market_id, limit)
    return [_intent(row) for row in rows]


async def signatures(db: Pool | Connection, intent_id: UUID) -> list[IntentSignature]:
    """Return every signing of an intent, in order of attempts."""
    return [IntentSignature(*row) for row in await db.fetch(_SIGNATURES, intent_id)]


async def counts(db: Pool | Connection) -> dict[IntentState, int]:
    """Return the number of intents in each state, 0 included."""
    by_state = {row["state"]: row["intents"] for row in await db.fetch(_COUNT_BY_STATE)}
    return {state: by_state.get(state.value, 0) for state in IntentState}


async def reopen(db: Pool | Connection, intent_id: UUID) -> None:
    """Reopen an intent that the journal has as done while the account on chain does not show its effect. The state
    becomes `sent`, so that the newest transaction is judged again before another is signed; without a transaction, or
    after a failure, it becomes `planned`."""
    await db.execute(_REOPEN, intent_id)


class Journal:
    """Implement chain.sender.IntentJournal over the connection that holds the intents' locks.

    A process that loses the connection loses the locks and can no longer write, so it sends nothing more. Each method
    raises StoreError when PostgreSQL is unavailable or the intent does not exist; `mark_sent` also when the intent has
    another signature now.
    """

    def __init__(self, connection: Database) -> None:
        self._connection = connection

    async def save_signed(
        self, intent_id: str, signature: Signature, raw_tx: bytes, last_valid_block_height: int
    ) -> None:
        """Store a signed transaction before it is sent, and count a signing."""
        await self._write(_SAVE_SIGNED, intent_id, signature, raw_tx, last_valid_block_height)

    async def mark_sent(self, intent_id: str, signature: Signature) -> None:
        """Record that the transaction is about to be sent. Raises StoreError if it is not the newest one."""
        await self._write(_SENT, intent_id, signature)

    async def mark_landed(self, intent_id: str, signature: Signature, slot: Slot) -> None:
        """Record that the transaction was executed successfully in `slot`."""
        await self._write(_JUDGED, intent_id, signature, IntentState.LANDED.value, slot)

    async def mark_dead(self, intent_id: str, signature: Signature) -> None:
        """Record that the transaction expired and can never land."""
        await self._write(_JUDGED, intent_id, signature, IntentState.DEAD.value, None)

    async def mark_failed(self, intent_id: str, code: int, name: str, message: str) -> None:
        """Record that the program or the runtime refused the transaction. `code`, `name` and `message` are the
        error's; the code is -1 for the runtime."""
        await self._write(_FAILED, intent_id, code, storable(name), storable(message))

    async def mark_uncertain(self, intent_id: str, reason: str) -> None:
        """Record that the transaction may have landed and cannot be judged, and why."""
        await self._write(_STATE, intent_id, IntentState.UNCERTAIN.value, storable(reason))

    async def mark_already_done(self, intent_id: str) -> None:
        """Record that the account on chain showed the effect already."""
        await self._write(_STATE, intent_id, IntentState.ALREADY_DONE.value, None)

    async def mark_refused(self, intent_id: str, reason: str) -> None:
        """Record that the votes do not allow what an operator asked for, and why. Nothing of it may be in flight."""
        await self._write(_STATE, intent_id, IntentState.FAILED.value, storable(reason))

    async def resolve_by_hand(self, intent_id: str, state: IntentState, reason: str) -> None:
        """Record the state that a person determined, and why. With DEAD the intent may be signed again."""
        await self._write(_STATE, intent_id, state.value, storable(reason))

    async def _write(self, sql: str, intent_id: str, *values: object) -> None:
        if await self._connection.fetchval(sql, UUID(intent_id), *values) is None:
            raise StoreError(f"The intent {intent_id} changed under its sender: nothing further is sent.")


def _intent(row: Record) -> IntentRow:
    values = dict(row)
    return IntentRow(
        action=Action(values.pop("action")),
        state=IntentState(values.pop("state")),
        arguments=msgspec.json.decode(values.pop("arguments"), type=dict[str, int | str]),
        **values,
    )
