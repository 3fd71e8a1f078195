"""What a decision that waits for the index says: how far the index is, and what the decision needs."""

import pytest

from kit.votes import complete_index
from zmart.errors import IndexIncomplete
from zmart.market.types import Address, ChainTime, MarketId, Slot
from zmart.store.pool import Pool
from zmart.votes.completeness import MAX_LAG_S, require_complete, require_recent

PROGRAM = Address("7h3gXfBfYFueFVLYyfL5Qo1NGf6GQEfW96nLBEv1PWZM")
MARKET = MarketId("ab" * 32)
NOON = ChainTime(1_769_860_800)
NEEDED = "the decision needs chain time 2026-01-31 12:00:00Z."
NEEDED_WITH_SLOT = "the decision needs slot 9 and chain time 2026-01-31 12:00:00Z."


@pytest.mark.parametrize(
    ("index", "slot", "message"),
    [
        (None, None, f"No indexer has ever run on this database; {NEEDED}"),
        (None, 9, f"No indexer has ever run on this database; {NEEDED_WITH_SLOT}"),
        ((5, 0), None, f"The index is complete through slot 5, and through no chain time yet; {NEEDED}"),
        (
            (5, NOON - 1),
            None,
            f"The index is complete through slot 5 and chain time 2026-01-31 11:59:59Z; {NEEDED}",
        ),
        (
            (5, NOON - 1),
            9,
            f"The index is complete through slot 5 and chain time 2026-01-31 11:59:59Z; {NEEDED_WITH_SLOT}",
        ),
        (
            (5, NOON + 1),
            9,
            f"The index is complete through slot 5 and chain time 2026-01-31 12:00:01Z; {NEEDED_WITH_SLOT}",
        ),
    ],
)
async def test_a_decision_says_which_slot_and_time_it_needs_and_no_slot_if_it_needs_none(
    pool: Pool, index: tuple[int, int] | None, slot: int | None, message: str
) -> None:
    if index is not None:
        await complete_index(pool, PROGRAM, *index)
    needed_slot = None if slot is None else Slot(slot)
    with pytest.raises(IndexIncomplete) as waits:
        await require_complete(pool, PROGRAM, MARKET, NOON, needed_slot)
    assert str(waits.value) == message
    assert (waits.value.needs_slot, waits.value.needs_time) == (slot or 0, NOON)


async def test_an_approval_of_what_nobody_has_counted_names_no_slot(pool: Pool) -> None:
    await complete_index(pool, PROGRAM, 5, NOON - 1)
    with pytest.raises(IndexIncomplete) as waits:
        await require_recent(pool, PROGRAM, MARKET, ChainTime(NOON + MAX_LAG_S), ChainTime(0))
    assert str(waits.value).endswith(NEEDED)


@pytest.mark.parametrize("slot", [None, Slot(0), Slot(5)])
async def test_a_decision_goes_on_once_the_index_is_complete(pool: Pool, slot: Slot | None) -> None:
    await complete_index(pool, PROGRAM, 5, NOON)
    await require_complete(pool, PROGRAM, MARKET, NOON, slot)
