"""Close the alerts about decisions that no longer apply. The keys of these alerts are `<topic>:<job>:<market>`."""

from __future__ import annotations

from zmart.store.market_work import WAITS_FOR_A_PERSON
from zmart.store.pool import Connection, Pool

_RESOLVE_OUTDATED = """
UPDATE alerts a SET resolved_at = now()
WHERE a.resolved_at IS NULL AND split_part(a.key, ':', 1) IN ('failing', 'waiting')
  AND NOT EXISTS (
    SELECT FROM market_work w
    WHERE w.market_id = split_part(a.key, ':', 3) AND w.job = split_part(a.key, ':', 2)
      AND CASE split_part(a.key, ':', 1) WHEN 'failing' THEN w.status = 'failing' ELSE w.status = ANY ($1) END)
RETURNING a.key
"""


async def resolve_outdated(db: Pool | Connection) -> list[str]:
    """Close the alerts whose job has changed, and return their keys. These are each `failing` alert whose job no
    longer fails, and each `waiting` alert whose job no longer waits for a person, whichever process raised the
    alert."""
    return [row["key"] for row in await db.fetch(_RESOLVE_OUTDATED, list(WAITS_FOR_A_PERSON))]
