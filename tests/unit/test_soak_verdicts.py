"""How the soak test judges the memory use of a day."""

import pytest

from kit.soak.day import Day, DayPlan
from kit.soak.figures import Figures
from kit.soak.verdicts import LEAST_QUARTER_TICKS, MOST_GROWTH_MIB, flat

BOUND_MIB = 80
TICKS = 4 * LEAST_QUARTER_TICKS


def day_of(chain_mib: list[float], indexer_mib: list[float]) -> Day:
    """Return a day's figures with this memory, in MiB after each tick, of the chain and the indexer."""
    figures = [
        Figures(
            float(at_s),
            {"chain": chain, "indexer": indexer},
            {"chain": 9, "indexer": 9},
            100 * at_s,
            {"chain_transactions": at_s} | ({"a_later_partition": 1} if at_s > TICKS - 9 else {}),
            {},
        )
        for at_s, (chain, indexer) in enumerate(zip(chain_mib, indexer_mib, strict=True))
    ]
    return Day(DayPlan(TICKS, 1.0, 0), float(TICKS), figures, [], {}, 0, [], [], [], 0)


def growing(by_mib: float) -> list[float]:
    """Return a memory use per tick that grows evenly, by `by_mib` from the second to the last quarter of the day."""
    return [100 + by_mib * tick / (TICKS // 2) for tick in range(TICKS)]


@pytest.mark.parametrize(
    ("chain_by_mib", "indexer_by_mib", "is_flat", "is_bounded"),
    [
        (0, 0, True, True),
        (MOST_GROWTH_MIB - 1, MOST_GROWTH_MIB - 1, True, True),
        (MOST_GROWTH_MIB + 1, 0, False, True),
        (0, MOST_GROWTH_MIB + 1, False, True),
        (BOUND_MIB, 0, False, False),
    ],
)
def test_the_local_chain_is_judged_as_every_process_and_by_its_bound(
    chain_by_mib: float, indexer_by_mib: float, is_flat: bool, is_bounded: bool
) -> None:
    verdicts = flat(day_of(growing(chain_by_mib), growing(indexer_by_mib)), BOUND_MIB)[:2]
    assert [verdict.holds for verdict in verdicts] == [is_flat, is_bounded]
    assert "LOCAL_CHAIN_GROWTH_MIB (80)" in verdicts[1].promise


def test_a_chain_that_grows_late_in_the_day_is_named_by_its_bound_alone() -> None:
    """A peak at the end of the day exceeds the chain's bound, although the quarters' medians do not show it."""
    chain = [100.0] * (TICKS - 3) + [100.0 + BOUND_MIB + 1] * 3
    verdicts = flat(day_of(chain, growing(0)), BOUND_MIB)[:2]
    assert [verdict.holds for verdict in verdicts] == [True, False]
