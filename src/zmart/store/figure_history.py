"""Store the metrics of each process by the minute and by the quarter of an hour, for the dashboard's charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from zmart.store.pool import Connection, Pool

MINUTE_S = 60
QUARTER_S = 900
RETENTION_S = {MINUTE_S: 7_200, QUARTER_S: 90_000}
"""Seconds for which rows are kept, by the length of their step: minutes for 2 hours, quarters of an hour for 25 hours.
That is more than the charts of the last hour and the last day read."""

_WRITE = """
INSERT INTO figure_history (step_s, began_at, service, instance, seconds, counts, levels)
SELECT step_s, to_timestamp(began_s), $1, $2, seconds, counts, levels
FROM unnest($3::integer[], $4::bigint[], $5::real[], $6::jsonb[], $7::jsonb[])
    AS period (step_s, began_s, seconds, counts, levels)
ON CONFLICT (step_s, began_at, service, instance) DO UPDATE
SET seconds = excluded.seconds, counts = excluded.counts, levels = excluded.levels
"""
_PRUNE = "DELETE FROM figure_history WHERE step_s = $1 AND began_at < now() - make_interval(secs => $2)"
_READ = """
SELECT began_at, service, instance, seconds, counts, levels FROM figure_history
WHERE step_s = $1 AND began_at > now() - make_interval(secs => $2) ORDER BY began_at, service, instance
"""


class FigurePeriod(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the metrics of a process in one step of `step_s` seconds, which began at `began_s` (Unix seconds).

    `counts`: how much each counter grew, by name, within `seconds`. That time ends in the step, and begins before the
    step if nothing could be written for a while. `levels`: the last value of each gauge, by name.
    """

    step_s: int
    began_s: int
    seconds: float
    counts: Mapping[str, float]
    levels: Mapping[str, float]


class FigureRow(msgspec.Struct, frozen=True, kw_only=True):
    """Hold a stored FigurePeriod, with the service and the process (`instance`) that wrote it."""

    began_at: datetime
    service: str
    instance: str
    seconds: float
    counts: Mapping[str, float]
    levels: Mapping[str, float]


async def write(db: Pool | Connection, service: str, instance: str, periods: Sequence[FigurePeriod]) -> None:
    """Write the periods of a process. A stored period of the same step and time is replaced."""
    await db.execute(
        _WRITE,
        service,
        instance,
        [period.step_s for period in periods],
        [period.began_s for period in periods],
        [period.seconds for period in periods],
        [msgspec.json.encode(period.counts).decode() for period in periods],
        [msgspec.json.encode(period.levels).decode() for period in periods],
    )


async def prune(db: Pool | Connection) -> None:
    """Delete the rows that are older than RETENTION_S allows for their step."""
    for step_s, retention_s in RETENTION_S.items():
        await db.execute(_PRUNE, step_s, retention_s)


async def read(db: Pool | Connection, step_s: int, last_s: int) -> list[FigureRow]:
    """Return the periods of all processes with steps of `step_s` seconds, the oldest first. Only periods that began
    within the last `last_s` seconds are returned."""
    rows = await db.fetch(_READ, step_s, last_s)
    return [
        FigureRow(
            **{
                **row,
                "counts": msgspec.json.decode(row["counts"]),
                "levels": msgspec.json.decode(row["levels"]),
            }
        )
        for row in rows
    ]
