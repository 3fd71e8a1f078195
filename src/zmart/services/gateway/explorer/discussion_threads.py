"""Group comments into threads: a comment, and the replies below it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec

from zmart.store.discussions import CommentRow


class CommentThread(msgspec.Struct, frozen=True, kw_only=True):
    """A comment with all replies below it, direct and indirect, the oldest first. `is_orphan`: the comment is itself a
    reply, and the comment that it answers is not on this page: it is on an older page or deleted."""

    comment: CommentRow
    replies: list[CommentRow]
    is_orphan: bool


def threads_of(rows: Sequence[CommentRow]) -> list[CommentThread]:
    """Return the threads of a page of comments, which come newest first. The threads are in the order of their first
    comments, the newest first."""
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
    """Return the first comment of a comment's thread, as far back as `by_id` has it. The loop ends, because a reply is
    newer than the comment that it answers."""
    while row.parent_id is not None and row.parent_id in by_id:
        row = by_id[row.parent_id]
    return row
