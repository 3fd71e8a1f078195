"""Which results of a dispute a person should review: close ones, and those that young wallets decided (A1)."""

import pytest

from zmart.market.dispute_review import review_reasons
from zmart.market.tally import Tally
from zmart.market.types import Bps

NONE = Tally(0, 0)


@pytest.mark.parametrize(
    ("tally", "young", "close", "carried"),
    [
        (Tally(90, 10), NONE, False, False),
        (Tally(65, 35), NONE, True, False),
        (Tally(55, 45), NONE, True, False),
        (Tally(66, 34), NONE, False, False),
        (Tally(54, 46), NONE, False, False),
        (Tally(90, 10), Tally(90, 0), False, True),
        (Tally(90, 10), Tally(70, 0), False, False),
        (Tally(90, 10), Tally(76, 0), False, True),
        (Tally(10, 90), Tally(0, 85), False, True),
        (Tally(10, 90), Tally(0, 50), False, False),
        (Tally(0, 12), Tally(0, 3), False, True),
        (Tally(0, 12), Tally(0, 2), False, False),
        (Tally(7, 3), Tally(7, 3), False, True),
    ],
)
def test_a_close_or_carried_result_has_a_reason(
    tally: Tally, young: Tally, close: bool, carried: bool
) -> None:
    reasons = review_reasons(tally, young, Bps(6_000), 10, Bps(500))
    assert any("close" in reason for reason in reasons) is close
    assert any("carried" in reason for reason in reasons) is carried
