"""What `zmart demo` prints: its lines and its end fit the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from zmart.local.demo.report import ConsistencyCheck, DemoReport, StepResult
from zmart.local.demo.table import WIDE_COLUMNS, in_slot_order, live_line, show

LABELS = ("undisputed", "overturned", "cancelled")


def step(market: str, what: str, slot: int | None = None, index: str = "", error: str = "") -> StepResult:
    return StepResult(
        market=market,
        step=what,
        ok=not error,
        seconds=12.345,
        transaction="5hTt8kq2" * 11 if slot else "",
        slot=slot,
        index=index,
        socket="#1234 PROPOSED → APPROVED" if slot else "",
        snapshot="bafkreigh2akis…" if slot else "",
        error=error,
    )


STEPS = [
    step("all", "faucet funds the wallets", index="12 wallets, 100 SOL each"),
    *(step(label, "created", 100 + number, "PROPOSED") for number, label in enumerate(LABELS)),
    step("undisputed", "counted and approved by itself", 141, "APPROVED"),
    step("overturned", "counted and approved by itself", 137, "APPROVED"),
    step("cancelled", "cancelled by the operator", 150, "CANCELLED"),
    step("overturned", "overturned by itself", 260, "FINALIZED NO"),
    step("undisputed", "winners claim", 271, "6 winners, 61.312 SOL"),
]
CHECKS = [
    ConsistencyCheck(
        name="tallies verified, one number everywhere", ok=True, detail="3 tallies, 21 votes each"
    ),
    ConsistencyCheck(name="lamports conserved", ok=True, detail="1,500,000,000,000 lamports in 3 markets"),
]
REPORT = DemoReport(
    ok=True, seconds=51.2, markets=dict.fromkeys(LABELS, "ab" * 32), steps=STEPS, books=CHECKS
)


def printed(report: DemoReport, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    show(report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, WIDE_COLUMNS - 1])
def test_a_narrow_terminal_shows_a_line_for_each_market_and_each_check(width: int) -> None:
    """P15: below 110 columns there is no wide table, and no word is cut."""
    lines = printed(REPORT, width)
    assert lines == [
        "✓ undisputed   3 steps  slots 100 to 271  APPROVED",
        "✓ overturned   3 steps  slots 101 to 260  FINALIZED NO",
        "✓ cancelled    2 steps  slots 102 to 150  CANCELLED",
        "✓ tallies verified, one number everywhere: 3 tallies, 21 votes each",
        "✓ lamports conserved: 1,500,000,000,000 lamports in 3 markets",
        "All 9 steps and 2 checks hold, in 51.2 s.",
    ]


def test_the_table_of_a_wide_terminal_is_in_the_order_of_slots() -> None:
    """P15: two markets are decided at once, and the demo waits for the one with the later slot first."""
    slots = [done.slot for done in in_slot_order(STEPS) if done.slot is not None]
    assert slots == sorted(slots)
    assert next(done.step for done in in_slot_order(STEPS)) == "faucet funds the wallets"
    assert any("137" in line and "141" not in line for line in printed(REPORT, 200))


@pytest.mark.parametrize("width", [60, 80, 110, 200])
def test_a_step_takes_one_line_and_says_as_much_as_fits(width: int) -> None:
    for done in STEPS:
        text = live_line(done, width).plain
        assert len(text) <= max(width, 61)
        assert done.step in text
        parts = [part for part in (done.index, done.socket, done.snapshot) if part]
        seen = text.partition("12.35 s")[2].strip()
        assert seen in [" · ".join(parts[:count]) for count in range(len(parts) + 1)]
        if width == 200:
            assert seen == " · ".join(parts)


def test_an_error_is_never_cut_and_its_brackets_are_no_markup() -> None:
    error = "ZmartError: [red] the index has another market: " + "x" * 200
    failed = step("undisputed", "created", error=error)
    assert live_line(failed, 80).plain.endswith(error)
    report = DemoReport(
        ok=False, seconds=1, markets=REPORT.markets, steps=[failed], books=[], failed_step=error
    )
    lines = printed(report, 80)
    assert lines[0].startswith("✗ undisputed")
    assert lines[-1] == f"Failed: {error}"


@pytest.mark.parametrize("market", ["all", "undisputed"])
def test_what_failed_before_any_market_was_created_has_a_line(market: str) -> None:
    failed = step(market, "sign in with Solana", error="ZmartError: the API does not answer")
    report = DemoReport(ok=False, seconds=1, markets={}, steps=[failed], books=[], failed_step="x")
    assert printed(report, 80)[0] == f"✗ {market:<10}   1 steps"
