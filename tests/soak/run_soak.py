"""`make soak`: a day of schedules in an hour on the local stack; prints the verdicts and writes a page of figures.

The day has 288 ticks of the aggregator and the monitor, five minutes apart on the chain's clock. All the time there are
light traffic, a listener of the feed and a probe of every service each second. Each half hour of the day, a market's
whole life begins. Then one snapshot a day is taken for a month. The exit status is 1 when a promise does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from kit.local_stack import stack_in
from kit.soak import day, month, page, verdicts
from kit.soak.figures import Figures
from zmart.settings import Settings
from zmart.store import markets
from zmart.store.markets import Filters, Page, Sort
from zmart.store.pool import Pool


async def soak(settings: Settings, plan: day.DayPlan) -> tuple[day.Day, list[verdicts.Verdict]]:
    """Run the day and the month on a running stack; return the day's results and all verdicts."""

    def on_tick(number: int, figures: Figures) -> None:
        total, trades = sum(figures.memory_mib.values()), figures.rows["trades"]
        print(
            f"tick {number}/{plan.ticks}, {figures.at_s:.0f} s, {total:.0f} MiB, {trades} trades", flush=True
        )

    lived = await day.live(settings, plan, on_tick)
    pool = await Pool.open(settings.require("database_url"), size=1)
    try:
        market = (await markets.page(pool, Filters(), Sort.NEWEST, Page(limit=1)))[0]
    finally:
        await pool.close()
    return lived, await verdicts.of(settings, lived, await month.live(settings, market.market_id))


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=288, help="ticks of each schedule (default: 288, a day)")
    parser.add_argument("--tick-s", type=int, default=12, help="seconds between two ticks (default: 12)")
    parser.add_argument(
        "--life-every", type=int, default=6, help="ticks between two lives of a market (default: 6)"
    )
    parser.add_argument(
        "--report", type=Path, default=Path("artifacts/soak.html"), help="where the page is written"
    )
    given = parser.parse_args()
    cron = f"* * * * * */{given.tick_s}"
    plan = day.DayPlan(given.ticks, given.tick_s, given.life_every)
    os.environ |= {"AGGREGATOR_CRON": cron, "MONITOR_CRON": cron}  # read by the services
    with (
        tempfile.TemporaryDirectory(prefix="zmart-soak-") as home,
        stack_in(Path(home)) as settings,
    ):
        lived, judged = asyncio.run(soak(settings, plan))
    given.report.parent.mkdir(parents=True, exist_ok=True)
    title = f"{given.ticks} ticks in {lived.seconds / 60:.0f} minutes"
    given.report.write_text(page.render(title, lived, judged), "utf-8")
    for verdict in judged:
        print("holds" if verdict.holds else "FAILS", verdict.promise, "-", verdict.figures)
    print(f"Figures: {given.report}")
    return 0 if all(verdict.holds for verdict in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
