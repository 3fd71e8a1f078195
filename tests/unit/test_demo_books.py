"""What the demo's books make of messages about trades."""

import pytest

from zmart.local.demo.books import trades_of_messages


def told(*changes: str) -> list[dict]:
    """Messages by "action id"."""
    return [dict(zip(("action", "id"), change.split(), strict=True)) for change in changes]


@pytest.mark.parametrize(
    ("changes", "left", "in_order"),
    [
        ((), "", True),
        (("created 1", "created 2"), "1 2", True),
        (("created 1", "created 2", "updated 1"), "1 2", False),  # its place in the block became known
        (("created 1", "deleted 1", "created 2"), "2", False),
        (("created 1", "created 2", "deleted 1", "created 1"), "2 1", False),  # its transaction came back
    ],
)
def test_a_trade_that_changes_counts_once(changes: tuple[str, ...], left: str, in_order: bool) -> None:
    trades, was_in_order = trades_of_messages(told(*changes))
    assert [trade["id"] for trade in trades] == left.split()
    assert was_in_order is in_order
