"""Close the alerts about decisions that no longer apply. The keys of these alerts are `<topic>:<job>:<market>`, and
`uncertain:<intent>` for an effect whose transaction cannot be judged, and `approval refused:<market>`."""

from __future__ import annotations

from zmart.store.market_work import WAITS_FOR_A_PERSON
from zmart.store.pool import Connection, Pool

_RESOLVE_OUTDATED = """
UPDATE alerts a SET resolved_at = now()
WHERE a.resolved_at IS NULL AND CASE split_part(a.key, ':', 1)
  WHEN 'uncertain' THEN NOT EXISTS (
    SELECT FROM intents i
    WHERE i.id::text = split_part(a.key, ':', 2) AND i.state IN ('signed', 'sent', 'uncertain'))
  WHEN 'failing' THEN NOT EXISTS (
    SELECT FROM market_work w
    WHERE w.market_id = split_part(a.key, ':', 3) AND w.job = split_part(a.key, ':', 2) AND w.status = 'failing')
  WHEN 'waiting' THEN NOT EXISTS (
    SELECT FROM market_work w
    WHERE w.market_id = split_part(a.key, ':', 3) AND w.job = split_part(a.key, ':', 2) AND w.status = ANY ($1))
  WHEN 'approval refused' THEN NOT EXISTS (
    SELECT FROM intents i JOIN markets m ON m.market_id = i.market_id AND m.state = 'PROPOSED'
    WHERE i.market_id = split_part(a.key, ':', 2) AND i.action = 'approve_proposal' AND i.round = 0
      AND i.state = 'failed')
  ELSE false END
RETURNING a.key
"""


async def resolve_outdated(db: Pool | Connection) -> list[str]:
    """Close the alerts whose job has changed, and return their keys. These are each `failing` alert whose job no
    longer fails, each `waiting` alert whose job no longer waits for a person, each `uncertain` alert whose intent has
    no transaction under way any more, and each `approval refused` alert whose market is no longer proposed, or whose
    approval was requested again, whichever process raised the alert."""
    return [row["key"] for row in await db.fetch(_RESOLVE_OUTDATED, list(WAITS_FOR_A_PERSON))]
