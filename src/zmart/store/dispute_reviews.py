"""Store reviews of disputes: a dispute's result that a person has to release before the market is finalized."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from zmart.market.types import MarketId
from zmart.store.error_text import storable
from zmart.store.pool import Connection, Pool, Record

_COLUMNS = "market_id, reasons, raised_at, released_at, released_by, note"
_RAISE = f"""
INSERT INTO dispute_reviews (market_id, reasons) VALUES ($1, $2)
ON CONFLICT (market_id) DO UPDATE SET reasons = excluded.reasons RETURNING {_COLUMNS}
"""
_FIND = f"SELECT {_COLUMNS} FROM dispute_reviews WHERE market_id = $1"
_RELEASE = f"""
UPDATE dispute_reviews SET released_at = now(), released_by = $2, note = $3
WHERE market_id = $1 AND released_at IS NULL RETURNING {_COLUMNS}
"""
_ALL = (
    f"SELECT {_COLUMNS} FROM dispute_reviews ORDER BY released_at DESC NULLS FIRST, raised_at DESC LIMIT $1"
)


class DisputeReviewRow(msgspec.Struct, frozen=True):
    """A review of a dispute's result. `reasons`: why a person should review the result. `released_at`, `released_by`
    and `note`: when and by whom it was released, and that person's remark; None while it waits."""

    market_id: MarketId
    reasons: tuple[str, ...]
    raised_at: datetime
    released_at: datetime | None
    released_by: str | None
    note: str | None

    @property
    def waits(self) -> bool:
        """Whether the result still waits to be released."""
        return self.released_at is None


async def request(db: Pool | Connection, market_id: MarketId, reasons: Sequence[str]) -> DisputeReviewRow:
    """Request a review of the market's dispute, or replace the reasons of an earlier request. Returns the review. A
    review that was released stays released."""
    row = await db.fetchrow(_RAISE, market_id, [storable(reason) for reason in reasons])
    assert row is not None
    return _review(row)


async def find(db: Pool | Connection, market_id: MarketId) -> DisputeReviewRow | None:
    """Return the review of the market's dispute; None when none was requested."""
    row = await db.fetchrow(_FIND, market_id)
    return None if row is None else _review(row)


async def release(db: Pool | Connection, market_id: MarketId, by: str, note: str) -> DisputeReviewRow | None:
    """Release the dispute to be finalized by its votes, and return the review. Returns None when no review of the
    market waits."""
    row = await db.fetchrow(_RELEASE, market_id, by, storable(note))
    return None if row is None else _review(row)


async def newest(db: Pool | Connection, limit: int = 100) -> list[DisputeReviewRow]:
    """Return up to `limit` reviews: first those that wait, the newest first, then released ones, the
    one that was released last first."""
    return [_review(row) for row in await db.fetch(_ALL, limit)]


def _review(row: Record) -> DisputeReviewRow:
    return DisputeReviewRow(**{**row, "reasons": tuple(row["reasons"])})
