"""Put replies below the comments that they answer."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec

from zmart.store.discussions import CommentRow


class CommentThread(msgspec.Struct, frozen=True, kw_only=True):
    """A comment with its replies and theirs, the oldest first. `is_orphan`: it is a reply whose comment is not among
    these: on an older page, or deleted."""

    comment: CommentRow
    replies: list[CommentRow]
    is_orphan: bool


def threads_of(rows: Sequence[CommentRow]) -> list[CommentThread]:
    """Return the threads of a page of comments (the newest first), by their first comments, the newest first."""
    by_id = {row.id: row for row in rows}
    replies: dict[UUID, list[CommentRow]] = {}
    for row in reversed(rows):
        first = _first(row, by_id)
        if first is not row:
            replies.setdefault(first.id, []).append(row)
    return [
        CommentThread(comment=row, replies=replies.get(row.id, []), is_orphan=row.parent_id is not None)
        for row in rows
        if _first(row, by_id) is row
    ]


def _first(row: CommentRow, by_id: dict[UUID, CommentRow]) -> CommentRow:
    """Return the comment that began the thread, as far as it is among these. A reply is newer than what it answers."""
    while row.parent_id is not None and row.parent_id in by_id:
        row = by_id[row.parent_id]
    return row
