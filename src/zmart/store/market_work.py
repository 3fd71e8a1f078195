"""Store the jobs of the aggregator and the monitor, at most one for each market and kind of decision.

A job holds its status, the last error and the time of the next attempt, so that a stalled market can be explained.
Deadlines of the program are compared in chain time. Only the pauses between our own attempts follow the database's
clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum

import msgspec

from zmart.market.tally import Tally
from zmart.market.types import Address, Bps, ChainTime, MarketId, MarketState
from zmart.store.clock_set_back import lies_ahead
from zmart.store.documents import OF_MARKET
from zmart.store.error_text import storable
from zmart.store.pool import Connection, Pool

FIRST_PAUSE_S = 5
LONGEST_PAUSE_S = 3_600
MOST = 10_000
"""The maximum number of markets that one tick handles; the next tick continues with the others."""

AWAITING_ADMIN, NEEDS_A_PERSON = "awaiting admin", "needs a person"
TOO_FEW_VOTES, WAITS_FOR_REVIEW = "too few votes", "waiting: review"
WAITS_FOR_A_PERSON = (AWAITING_ADMIN, NEEDS_A_PERSON, TOO_FEW_VOTES, WAITS_FOR_REVIEW)
"""The statuses of jobs that wait for a person; an alert is raised for them."""
WAITS_FOR_INDEX = "waiting: index"
TICK_CHANNEL = "zmart_tick"

MAY_GO_ON = f"""(coalesce(w.next_attempt_at, '-infinity') <= now() OR {lies_ahead("w.last_attempt_at")}
       OR (w.status = '{WAITS_FOR_INDEX}'
           AND EXISTS (SELECT FROM index_progress p WHERE p.gap_free_through_slot >= w.needs_slot
                       AND p.gap_free_through_time >= w.needs_time)))"""
"""SQL condition: whether the job `w`, a row of market_work or NULL, does not pause. A pause ends early when the index
has reached the slot and time that the job waits for, and when the clock was set back to before it began."""
# Markets to consider: they have enough votes for, are too old, were tallied before or wait for the index.
_PROPOSALS = f"""
SELECT m.market_id, m.address, extract(epoch FROM m.created_at)::bigint AS created_at,
       coalesce(c.votes_for, 0) AS votes_for, coalesce(c.votes_against, 0) AS votes_against
FROM markets m
LEFT JOIN market_work w ON w.market_id = m.market_id AND w.job = 'proposal'
LEFT JOIN vote_counts c ON c.market_id = m.market_id AND c.kind = 'proposal'
LEFT JOIN vote_rules r ON r.market_id = m.market_id AND r.kind = 'proposal'
WHERE m.state = 'PROPOSED' AND w.status IS DISTINCT FROM 'rejected'
  AND {MAY_GO_ON}
  AND (m.created_at <= to_timestamp($1)
       OR (c.votes_for + c.votes_against >= coalesce(r.min_votes, $2)
           AND c.votes_for * 10000 / greatest(c.votes_for + c.votes_against, 1) >= $3)
       OR EXISTS (SELECT FROM tallies t WHERE t.market_id = m.market_id AND t.kind = 'proposal')
       OR w.status = '{WAITS_FOR_INDEX}')
  AND ($5::text[] IS NULL OR m.market_id = ANY ($5))
ORDER BY w.next_attempt_at NULLS FIRST, m.created_at, m.market_id LIMIT $4
"""
# The indexed counts are those that the account records: a tally with others did not decide the market.
_UNCLOSED = """
SELECT DISTINCT m.market_id
FROM tallies t
JOIN markets m ON m.market_id = t.market_id AND m.state <> 'PROPOSED'
    AND (m.proposal_likes, m.proposal_dislikes) = (t.votes_for, t.votes_against)
WHERE t.kind = 'proposal'
  AND NOT EXISTS (SELECT FROM vote_closings c
                  WHERE (c.market_id, c.kind) = (t.market_id, 'proposal') AND c.voting_over)
ORDER BY m.market_id LIMIT $1
"""
_FINALIZATIONS = f"""
SELECT m.market_id, m.address, m.state, m.was_disputed,
       extract(epoch FROM CASE m.state WHEN 'DISPUTED' THEN m.dispute_initiated_at
                          ELSE m.resolution_proposed_at END)::bigint AS since
FROM markets m
LEFT JOIN market_work w
       ON w.market_id = m.market_id AND w.job = CASE m.state WHEN 'DISPUTED' THEN 'dispute' ELSE 'finalize' END
WHERE ((m.state = 'RESOLVING' AND m.resolution_proposed_at <= to_timestamp($1))
       OR (m.state = 'DISPUTED' AND m.dispute_initiated_at <= to_timestamp($2)))
  AND {MAY_GO_ON}
ORDER BY since, m.market_id LIMIT $3
"""
_STUCK = f"""
SELECT m.market_id, m.state, extract(epoch FROM s.since)::bigint AS since
FROM markets m
LEFT JOIN market_work w ON w.market_id = m.market_id AND w.job = 'proposal'
LEFT JOIN market_documents d ON {OF_MARKET}
CROSS JOIN LATERAL (SELECT CASE m.state
    WHEN 'PROPOSED' THEN m.created_at WHEN 'APPROVED' THEN m.approved_at WHEN 'ACTIVE' THEN d.ends_at
    WHEN 'RESOLVING' THEN m.resolution_proposed_at WHEN 'DISPUTED' THEN m.dispute_initiated_at END AS since) AS s
WHERE m.state IN ('PROPOSED', 'APPROVED', 'ACTIVE', 'RESOLVING', 'DISPUTED')
  AND w.status IS DISTINCT FROM 'rejected' AND s.since <= to_timestamp($1)
ORDER BY s.since, m.market_id LIMIT $2
"""
# One index lookup for each market that is voted on, however many markets there are.
_OPEN_VOTES = """
FROM markets m CROSS JOIN LATERAL (
    SELECT c.kind, c.votes_for, c.votes_against FROM vote_counts c
    WHERE c.market_id = m.market_id AND c.votes_for + c.votes_against > 0
      AND c.kind = CASE m.state WHEN 'PROPOSED' THEN 'proposal' ELSE 'dispute' END LIMIT 1) AS c
WHERE m.state IN ('PROPOSED', 'DISPUTED')
"""
_PENDING = f"""
SELECT count(*) FILTER (WHERE c.kind = 'proposal') AS proposal_sets,
       count(*) FILTER (WHERE c.kind = 'dispute') AS dispute_sets,
       coalesce(sum(c.votes_for + c.votes_against), 0)::bigint AS votes {_OPEN_VOTES}
"""
_OPEN_COUNTS = f"SELECT m.market_id, c.kind, c.votes_for, c.votes_against {_OPEN_VOTES}"
_COLUMNS = "market_id, job, status, status_since, attempts, last_error, last_attempt_at, next_attempt_at"
_NOTE = """
INSERT INTO market_work (market_id, job, status, last_attempt_at, next_attempt_at, last_error, needs_slot, needs_time)
VALUES ($1, $2, $3, now(), now() + make_interval(secs => $4), $5, $6, $7)
ON CONFLICT (market_id, job) DO UPDATE
SET status = excluded.status, attempts = 0, last_error = excluded.last_error, last_attempt_at = now(),
    status_since = CASE WHEN market_work.status = excluded.status THEN market_work.status_since ELSE now() END,
    next_attempt_at = excluded.next_attempt_at, needs_slot = excluded.needs_slot, needs_time = excluded.needs_time
"""
_WAITING = f"""
SELECT w.job, count(*) AS markets, extract(epoch FROM now() - min(w.status_since))::float8 AS longest_s,
    min(w.last_error) AS reason,
    coalesce(array_agg(w.market_id) FILTER (WHERE p.gap_free_through_slot >= w.needs_slot
                                              AND p.gap_free_through_time >= w.needs_time), '{{}}') AS ready
FROM market_work w LEFT JOIN index_progress p ON true
WHERE w.status = '{WAITS_FOR_INDEX}' AND w.job = ANY ($1) GROUP BY w.job
"""
_FAILED = """
INSERT INTO market_work (market_id, job, status, attempts, last_error, last_attempt_at, next_attempt_at)
VALUES ($1, $2, 'failing', 1, $3, now(), now() + make_interval(secs => $4))
ON CONFLICT (market_id, job) DO UPDATE
SET status = 'failing', attempts = market_work.attempts + 1,
    status_since = CASE WHEN market_work.status = 'failing' THEN market_work.status_since ELSE now() END,
    needs_slot = NULL, needs_time = NULL, last_error = $3, last_attempt_at = now(),
    next_attempt_at = now() + make_interval(secs => least($5, $4 * 2 ^ least(market_work.attempts, 20)))
RETURNING attempts, (SELECT last_error FROM market_work w WHERE w.market_id = $1 AND w.job = $2) AS error_before
"""
_DONE = "DELETE FROM market_work WHERE market_id = $1 AND job = $2 AND status <> 'rejected'"
_AT_ONCE = "UPDATE market_work SET next_attempt_at = now() WHERE market_id = $1"
_REQUEST_TICK = f"NOTIFY {TICK_CHANNEL}"
_FORGET_FINISHED = """
DELETE FROM market_work w USING markets m
WHERE m.market_id = w.market_id AND m.state <> CASE w.job
    WHEN 'proposal' THEN 'PROPOSED' WHEN 'dispute' THEN 'DISPUTED' WHEN 'finalize' THEN 'RESOLVING' END
RETURNING w.market_id, w.job
"""
_OF_MARKET = f"SELECT {_COLUMNS} FROM market_work WHERE market_id = $1 ORDER BY job"
_ALL = f"SELECT {_COLUMNS} FROM market_work ORDER BY next_attempt_at, market_id, job LIMIT $1"
_COUNT_BY_STATUS = "SELECT job, status, count(*) AS markets FROM market_work GROUP BY job, status"


class Job(Enum):
    """The kinds of jobs: to decide a proposal, to decide a dispute, and to finalize a market that was not disputed."""

    PROPOSAL = "proposal"
    DISPUTE = "dispute"
    FINALIZE = "finalize"


class OpenProposal(msgspec.Struct, frozen=True):
    """A market in PROPOSED with the current count of its proposal votes."""

    market_id: MarketId
    address: Address
    created_at: ChainTime
    tally: Tally


class DueFinalization(msgspec.Struct, frozen=True):
    """A market in RESOLVING or DISPUTED whose waiting time is over by the indexed data. `since`: when the resolution
    was proposed, or, in DISPUTED, when the dispute began."""

    market_id: MarketId
    address: Address
    state: MarketState
    was_disputed: bool
    since: ChainTime


class StuckMarket(msgspec.Struct, frozen=True):
    """An unfinished market. `since`: the chain time at which it entered its state; for ACTIVE, its end date."""

    market_id: MarketId
    state: MarketState
    since: ChainTime


class JobRow(msgspec.Struct, frozen=True):
    """A job of a market; it has had its status since `status_since`. `attempts`: failures in a row since the job last
    succeeded; `last_error`: why it failed, or what it waits for."""

    market_id: MarketId
    job: Job
    status: str
    status_since: datetime
    attempts: int
    last_error: str | None
    last_attempt_at: datetime | None
    next_attempt_at: datetime


class JobFailure(msgspec.Struct, frozen=True):
    """A recorded failure of a job. `attempts`: how often in a row the job has failed, this time included; `same_error`:
    whether its `last_error` was the same before."""

    attempts: int
    same_error: bool


class WaitingForIndex(msgspec.Struct, frozen=True):
    """The jobs of one kind that wait for the index: the number of their `markets`, and the longest wait in seconds.
    `reason`: why one of them waits; `ready`: the markets for which the index is complete enough now."""

    job: Job
    markets: int
    longest_s: float
    reason: str
    ready: list[MarketId]


class PendingVotes(msgspec.Struct, frozen=True):
    """Votes on open proposals and disputes. `proposal_sets` and `dispute_sets`: the numbers of open proposals and
    disputes with votes; `votes`: the number of votes on all of them."""

    proposal_sets: int
    dispute_sets: int
    votes: int


async def proposals_to_decide(
    db: Pool | Connection,
    expired_before: ChainTime,
    min_votes: int,
    threshold_bps: Bps,
    *,
    only: Sequence[MarketId] | None = None,
    limit: int = MOST,
) -> list[OpenProposal]:
    """Return up to `limit` markets in PROPOSED for which a decision may be due, among the markets `only` if given.

    The votes reach `threshold_bps` (basis points of votes for) and the minimum number, or the market was created at
    `expired_before` or earlier, or was tallied before, or its job waits for the index. `min_votes` is the minimum for
    markets whose terms are not fixed yet. Jobs that pause and rejected proposals are left out.
    """
    rows = await db.fetch(_PROPOSALS, expired_before, min_votes, threshold_bps, limit, only)
    return [OpenProposal(market, address, at, Tally(yes, no)) for market, address, at, yes, no in rows]


async def unclosed_proposals(db: Pool | Connection, limit: int = MOST) -> list[MarketId]:
    """Return up to `limit` markets that are indexed as no longer proposed by the counts of a tally, but whose vote on
    the proposal has no final closing: a wallet of the admin's own approved or cancelled them."""
    return [row["market_id"] for row in await db.fetch(_UNCLOSED, limit)]


async def finalizations_due(
    db: Pool | Connection, proposed_before: ChainTime, disputed_before: ChainTime, limit: int = MOST
) -> list[DueFinalization]:
    """Return up to `limit` markets that may be finalized, the longest waiting first. They entered RESOLVING at chain
    time `proposed_before` or earlier, or DISPUTED at `disputed_before` or earlier, and their job does not pause."""
    rows = await db.fetch(_FINALIZATIONS, proposed_before, disputed_before, limit)
    return [
        DueFinalization(market, address, MarketState[state], disputed, since)
        for market, address, state, disputed, since in rows
    ]


async def stuck_markets(db: Pool | Connection, since: ChainTime, limit: int = 500) -> list[StuckMarket]:
    """Return up to `limit` unfinished markets whose state has not changed since chain time `since`, the oldest first.
    An ACTIVE market counts from its end date. Rejected proposals are left out."""
    rows = await db.fetch(_STUCK, since, limit)
    return [StuckMarket(market, MarketState[state], at) for market, state, at in rows]


async def pending(db: Pool | Connection) -> PendingVotes:
    """Return the numbers of open proposals and disputes with votes, and of their votes."""
    return PendingVotes(*(await db.fetch(_PENDING))[0])


async def open_counts(db: Pool | Connection) -> list[tuple[MarketId, str, Tally]]:
    """Return (market id, kind, tally) of every open proposal and dispute that has votes."""
    return [(market, kind, Tally(yes, no)) for market, kind, yes, no in await db.fetch(_OPEN_COUNTS)]


async def note(
    db: Pool | Connection,
    market_id: MarketId,
    job: Job,
    status: str,
    pause_s: float = 0.0,
    reason: str | None = None,
) -> None:
    """Set the job's status and reason, reset its count of failures, and make it due again after `pause_s` seconds."""
    stored = None if reason is None else storable(reason)
    await db.execute(_NOTE, market_id, job.value, status, pause_s, stored, None, None)


async def wait_for_index(
    db: Pool | Connection,
    market_id: MarketId,
    job: Job,
    reason: str,
    needs_slot: int,
    needs_time: int,
    pause_s: float,
) -> None:
    """Record that the job waits for the index. The job is due after `pause_s` seconds, or as soon as the index is
    gap-free through slot `needs_slot` and chain time `needs_time`."""
    stored = storable(reason)
    await db.execute(_NOTE, market_id, job.value, WAITS_FOR_INDEX, pause_s, stored, needs_slot, needs_time)


async def waiting_for_index(db: Pool | Connection, jobs: Sequence[Job]) -> list[WaitingForIndex]:
    """Return the jobs that wait for the index, one item for each kind in `jobs` with a job that waits."""
    rows = await db.fetch(_WAITING, [job.value for job in jobs])
    return [WaitingForIndex(**{**row, "job": Job(row["job"])}) for row in rows]


async def failed(
    db: Pool | Connection, market_id: MarketId, job: Job, error: str, longest_pause_s: float = LONGEST_PAUSE_S
) -> JobFailure:
    """Record a failure of the job and pause the job. The pause is 5 seconds after the first failure; it doubles with
    each further failure in a row, up to `longest_pause_s` seconds."""
    pauses = (min(float(FIRST_PAUSE_S), longest_pause_s), float(longest_pause_s))
    stored = storable(error)
    row = (await db.fetch(_FAILED, market_id, job.value, stored, *pauses))[0]
    return JobFailure(row["attempts"], row["error_before"] == stored)


async def done(db: Pool | Connection, market_id: MarketId, job: Job) -> None:
    """Delete the job, because nothing remains to be done. The job of a rejected proposal stays."""
    await db.execute(_DONE, market_id, job.value)


async def without_pause(db: Pool | Connection, market_id: MarketId) -> None:
    """Make all jobs of the market due now, whatever they are waiting for."""
    await db.execute(_AT_ONCE, market_id)


async def request_tick(db: Pool | Connection) -> None:
    """Notify every aggregator and monitor to run a tick now (NOTIFY on TICK_CHANNEL)."""
    await db.execute(_REQUEST_TICK)


async def forget_finished(db: Pool | Connection) -> list[tuple[MarketId, Job]]:
    """Delete jobs whose market has left the state in which the job applies, such as PROPOSED for a proposal. Returns
    the market and kind of each deleted job."""
    return [(market, Job(job)) for market, job in await db.fetch(_FORGET_FINISHED)]


async def of_market(db: Pool | Connection, market_id: MarketId) -> list[JobRow]:
    """Return the jobs of a market."""
    return [
        JobRow(*{**row, "job": Job(row["job"])}.values()) for row in await db.fetch(_OF_MARKET, market_id)
    ]


async def everything(db: Pool | Connection, limit: int = 500) -> list[JobRow]:
    """Return at most `limit` jobs of all markets, in order of their next attempt."""
    return [JobRow(*{**row, "job": Job(row["job"])}.values()) for row in await db.fetch(_ALL, limit)]


async def counts(db: Pool | Connection) -> dict[tuple[Job, str], int]:
    """Return the number of markets for each kind of job and status."""
    return {(Job(job), status): n for job, status, n in await db.fetch(_COUNT_BY_STATUS)}
