"""Comments of a discussion are listed in threads: a reply follows the comment that it answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from kit.wallets import address, market_id
from zmart.services.gateway.explorer.discussion_threads import threads_of
from zmart.store.discussions import CommentRow


def comment(number: int, parent: int | None = None) -> CommentRow:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    return CommentRow(
        id=UUID(int=number), market_id=market_id(1), wallet=address(1), content=str(number),
        parent_id=None if parent is None else UUID(int=parent), created_at=at, deleted_at=None,
    )  # fmt: skip


def shape(*rows: CommentRow) -> list[tuple[str, list[str], bool]]:
    return [
        (thread.comment.content, [reply.content for reply in thread.replies], thread.is_orphan)
        for thread in threads_of(rows)
    ]


def test_replies_and_their_replies_follow_the_first_comment_oldest_first() -> None:
    rows = [comment(5), comment(4, parent=2), comment(3, parent=1), comment(2, parent=1), comment(1)]
    assert shape(*rows) == [("5", [], False), ("1", ["2", "3", "4"], False)]


def test_a_reply_to_what_is_not_on_the_page_stands_alone_and_says_so() -> None:
    assert shape(comment(9, parent=8), comment(8, parent=1)) == [("8", ["9"], True)]
