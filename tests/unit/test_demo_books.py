"""How the demo counts the trades in messages of the live feed and compares them with the index."""

import pytest

from zmart.local.demo.books import trades_agree, trades_of_messages


def told(*changes: str) -> list[dict]:
    """Return messages from texts of the form "action id"."""
    return [dict(zip(("action", "id"), change.split(), strict=True)) for change in changes]


@pytest.mark.parametrize(
    ("changes", "left", "in_order"),
    [
        ((), "", True),
        (("created 1", "created 2"), "1 2", True),
        (("created 1", "created 2", "updated 1"), "1 2", False),  # the update has its index in the block
        (("created 1", "deleted 1", "created 2"), "2", False),
        (("created 1", "created 2", "deleted 1", "created 1"), "2 1", False),  # trade 1 landed again
    ],
)
def test_a_trade_that_changes_counts_once(changes: tuple[str, ...], left: str, in_order: bool) -> None:
    trades, was_in_order = trades_of_messages(told(*changes))
    assert [trade["id"] for trade in trades] == left.split()
    assert was_in_order is in_order


def trades(*rows: str) -> list[dict]:
    """Return trades from texts of the form "slot signature"."""
    names = ("shares", "cost", "outcome", "trade_type", "user_wallet")
    same = dict.fromkeys(names, "1")
    return [same | {"slot": int(slot), "tx_signature": signature} for slot, signature in map(str.split, rows)]


@pytest.mark.parametrize(
    ("received", "in_order", "agree"),
    [
        (("9 a", "10 c", "10 b", "11 a"), True, True),
        (("9 a", "10 b", "10 c", "11 a"), True, False),  # created once each: the order is wrong
        (("9 a", "10 b", "10 c", "11 a"), False, True),
        (("9 a", "11 a", "10 b", "10 c"), False, True),  # a trade was removed and created again
        (("9 a", "9 b", "10 c", "11 a"), False, False),  # trade b is in another slot
        (("9 a", "10 b", "11 a"), False, False),
        (("9 a", "10 b", "10 c", "10 c", "11 a"), False, False),
    ],
)
def test_only_the_order_within_a_slot_may_differ(
    received: tuple[str, ...], in_order: bool, agree: bool
) -> None:
    index = trades("9 a", "10 c", "10 b", "11 a")
    assert trades_agree(index, trades(*received), in_order) is agree


def test_an_index_whose_slots_are_not_in_order_differs() -> None:
    assert not trades_agree(trades("10 a", "9 b"), trades("10 a", "9 b"), in_order=False)
    assert not trades_agree(trades("10 a", "9 b", "10 c"), trades("9 b", "10 a", "10 c"), in_order=False)
