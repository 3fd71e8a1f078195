"""Tests of a wallet's portfolio: its value over time, and what a final market makes of its positions."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from kit import rows
from kit.gateway import NOW, Site, add_market, add_position, add_trade, site
from kit.wallets import address, market_id
from zmart.market.fold_state import PositionFold
from zmart.market.types import MarketId
from zmart.store.pool import Pool

WHO = address(3)
HOUR = timedelta(hours=1)
_CLAIM = """
INSERT INTO chain_events (signature, ordinal, slot, index_in_block, name, market_id, event) VALUES ('claim', 0, $1, 0,
'WinningsClaimed', $2, jsonb_build_object('user', $3::text, 'timestamp', $4::bigint))
"""
_CLOCK = "UPDATE index_progress SET final_time = extract(epoch FROM $1::timestamptz)::bigint"


async def claimed(pool: Pool, market: MarketId, paid: int, amount: int, at: datetime) -> None:
    """Write that WHO bought `amount` YES for `paid` lamports, and claimed them at a time, in slot 9."""
    position = PositionFold(
        market_id=market, wallet=WHO, shares_yes=amount, total_invested=paid, trades_count=1, has_claimed=True,
        claimed_lamports=amount, realized_pnl_lamports=amount - paid, first_trade_at=rows.chain_time(NOW),
        last_trade_at=rows.chain_time(NOW), updated_slot=9,
    )  # fmt: skip
    await rows.add_position(pool, position)
    await pool.execute(_CLAIM, 9, market, WHO, rows.chain_time(at))


async def portfolio(here: Site) -> dict:
    return (await here.get(f"/api/users/{WHO}/portfolio")).json()


def values(points: list[dict]) -> list[tuple[int, int, int]]:
    return [(point["value"], point["invested"], point["realized_pnl"]) for point in points]


def times(points: list[dict]) -> list[datetime]:
    return [datetime.fromisoformat(point["timestamp"]) for point in points]


async def test_a_history_has_the_end_of_a_market_and_a_claim_that_no_trade_follows(database_url: str) -> None:
    async with site(database_url) as here:
        won = await add_market(here.pool, 1, "FINALIZED", final_outcome=True, finalized_at=NOW + HOUR)
        await add_trade(here.pool, won, WHO, 1, shares=1000, cost=600, price_e9=500_000_000)
        await claimed(here.pool, won, 600, 1000, NOW + 2 * HOUR)
        *points, last = (await portfolio(here))["history"]
        assert values(points) == [(500, 600, 0), (1000, 600, 0), (0, 0, 400)]
        assert times(points) == [NOW, NOW + HOUR, NOW + 2 * HOUR]
        assert values([last]) == [(0, 0, 400)]


async def test_the_history_ends_with_the_present_values_at_the_chains_time(database_url: str) -> None:
    async with site(database_url) as here:
        ahead = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(days=4)
        market = await add_market(here.pool, 1, price_e9=700_000_000)
        await add_trade(here.pool, market, WHO, 1, at=ahead - HOUR)
        await add_position(here.pool, market, WHO, 1000, 0, 600)
        await rows.index_through(here.pool, here.gateway.context.program.address, 1)
        for moment in (ahead, ahead + HOUR):
            await here.pool.execute(_CLOCK, moment + timedelta(seconds=20))
            body = await portfolio(here)
            assert times(body["history"])[-1] == moment
            present = body["value"], body["cost_basis"], body["realized_pnl"]
            assert values(body["history"])[-1] == present == (700, 600, 0)
        text = (await here.get(f"/wallets/{WHO}")).text
        axis = re.search(r'class="chart-note">(.*?);', text, re.DOTALL)
        assert axis
        assert [f"{moment:%H:%M}" in axis[1] for moment in (ahead - HOUR, ahead + HOUR)] == [True, True]


async def test_prices_that_others_made_appear_between_and_after_the_own_trades(database_url: str) -> None:
    async with site(database_url) as here:
        market, other = await add_market(here.pool, 1), await add_market(here.pool, 2)
        start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=10)
        for slot, who, days, price_e9 in (
            (1, WHO, 0, 500_000_000), (2, address(4), 2, 800_000_000), (4, address(4), 7, 300_000_000),
        ):  # fmt: skip
            await add_trade(here.pool, market, who, slot, at=start + timedelta(days=days), price_e9=price_e9)
        await add_trade(here.pool, other, WHO, 3, at=start + timedelta(days=5), price_e9=500_000_000)
        for each in (market, other):
            await add_position(here.pool, each, WHO, 1000, 0, 600)
        points = (await portfolio(here))["history"][:-1]
        assert [value for value, *_ in values(points)] == [500, 800, 1300, 800]
        late = [
            (at - start - timedelta(days=days)) / HOUR
            for at, days in zip(times(points), (0, 2, 5, 7), strict=True)
        ]
        assert [hours >= 0 for hours in late] == [True] * 4
        assert max(late) <= 2.5, "a hundredth of ten days"


async def test_any_number_of_trades_of_others_are_at_most_100_points(database_url: str) -> None:
    async with site(database_url) as here:
        market = await add_market(here.pool, 1)
        await add_trade(here.pool, market, WHO, 1, at=NOW)
        await add_position(here.pool, market, WHO, 1000, 0, 600)
        trades = [
            rows.trade_fold(
                market, address(4), signature=f"t{n}", slot=n, traded_at=NOW + n * HOUR,
                price_yes_after_e9=n * 1_000_000,
            )
            for n in range(2, 900)
        ]  # fmt: skip
        await rows.add_trades(here.pool, trades)
        assert len((await portfolio(here))["history"]) <= 102


async def test_a_claimed_winner_keeps_its_cost_and_its_profit_adds_up(database_url: str) -> None:
    async with site(database_url) as here:
        won = await add_market(here.pool, 1, "FINALIZED", final_outcome=True, finalized_at=NOW)
        await claimed(here.pool, won, 100_000_000, 181_000_000, NOW + HOUR)
        await add_trade(here.pool, won, WHO, 1, shares=181_000_000, cost=100_000_000)
        [row] = (await here.get(f"/api/users/{WHO}/positions")).json()
        assert (row["total_invested"], row["roi"]) == ("100000000", 81.0)
        [position] = (await portfolio(here))["closed_positions"]
        assert position["cost_basis"] == 100_000_000
        assert position["claimed"] - position["cost_basis"] == position["realized_pnl"] == 81_000_000
        await _agrees(here, realized=81_000_000, unrealized=0)
        page = await _position_on_page(here)
        assert page[-3:] == ["0.100", "claimed 0.181", "+0.081"]


async def test_the_loss_of_a_final_market_is_realized_and_its_position_closed(database_url: str) -> None:
    async with site(database_url) as here:
        lost = await add_market(here.pool, 1, "FINALIZED", final_outcome=False, finalized_at=NOW)
        await add_trade(here.pool, lost, WHO, 1, shares=200_000_000, cost=100_000_000)
        await add_position(here.pool, lost, WHO, 200_000_000, 0, 100_000_000)
        [row] = (await here.get(f"/api/users/{WHO}/positions")).json()
        assert (row["unrealized_pnl"], row["roi"]) == ("0", -100.0)
        body = await portfolio(here)
        assert body["open_positions"] == []
        assert (body["value"], body["cost_basis"]) == (0, 0)
        await _agrees(here, realized=-100_000_000, unrealized=0)
        assert (await _position_on_page(here))[-3:] == ["0.100", "0.000", "−0.100"]


async def test_an_unclaimed_winner_is_claimable(database_url: str) -> None:
    async with site(database_url) as here:
        won = await add_market(here.pool, 1, "FINALIZED", final_outcome=True, finalized_at=NOW)
        await add_trade(here.pool, won, WHO, 1, shares=181_000_000, cost=100_000_000)
        await add_position(here.pool, won, WHO, 181_000_000, 0, 100_000_000)
        body = await portfolio(here)
        assert body["open_positions"] == []
        assert (body["value"], body["cost_basis"]) == (181_000_000, 100_000_000)
        await _agrees(here, realized=0, unrealized=81_000_000)
        assert (await _position_on_page(here))[-3:] == ["0.100", "claimable 0.181", "+0.081"]


async def test_a_claim_is_in_the_portfolio_however_many_positions_are_newer(database_url: str) -> None:
    """P9: a portfolio has the 500 positions that were traded last, and every older one whose claim waits."""
    async with site(database_url) as here:
        keys = [
            await add_market(here.pool, n, "FINALIZED", final_outcome=True, finalized_at=NOW) for n in (1, 2)
        ]
        await add_position(here.pool, keys[0], WHO, 181_000_000, 0, 100_000_000)  # which waits
        await add_position(here.pool, keys[1], WHO, 0, 181_000_000, 100_000_000)  # which lost
        await rows.add_markets(
            here.pool, [rows.market_fold(market_id(n), "ACTIVE", question_cid="x") for n in range(3, 503)]
        )
        await here.pool.execute(
            "INSERT INTO positions SELECT (jsonb_populate_record(p, jsonb_build_object('market_id', m.market_id, "
            "'last_trade_at', p.last_trade_at + interval '1 day'))).* "
            "FROM positions p, markets m WHERE p.market_id = $1 AND m.state = 'ACTIVE'",
            keys[0],
        )
        body = await portfolio(here)
        assert len(body["open_positions"]) == 500
        closed = [(row["market_id"], row["current_value"]) for row in body["closed_positions"]]
        assert closed == [(keys[0], 181_000_000)]


async def test_what_was_sold_before_the_end_is_beside_the_claim(database_url: str) -> None:
    """Shares for 0.1 SOL were bought, some of them sold for 0.04, and the others claimed for 0.08."""
    async with site(database_url) as here:
        won = await add_market(here.pool, 1, "FINALIZED", final_outcome=True, finalized_at=NOW)
        await claimed(here.pool, won, 100_000_000, 80_000_000, NOW + HOUR)
        await here.pool.execute("UPDATE positions SET realized_pnl_lamports = 20000000")
        page = await _position_on_page(here)
        assert page[-3:] == ["0.100", "claimed 0.080 and sold for 0.040", "+0.020"]


async def _agrees(here: Site, realized: int, unrealized: int) -> None:
    """Check that the portfolio, the results, the history and the leaderboard have this profit, and no open position."""
    body, stats = await portfolio(here), (await here.get(f"/api/users/{WHO}/stats")).json()
    for source in (body, stats):
        assert (source["realized_pnl"], source["unrealized_pnl"]) == (realized, unrealized)
    assert (stats["active_positions"], stats["settled_positions"]) == (0, 1)
    value, invested, last_realized = values(body["history"])[-1]
    assert (last_realized, value - invested) == (realized, unrealized)
    [leader] = (await here.get("/api/leaderboard?window=all&by=pnl")).json()["leaders"]
    assert leader["pnl"] == realized + unrealized


async def _position_on_page(here: Site) -> list[str]:
    """Return the cells of the only position on the wallet's page."""
    section = (await here.get(f"/wallets/{WHO}")).text.partition("<h2>Positions</h2>")[2]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", section.partition("</tbody>")[0], re.DOTALL)
    return [" ".join(re.sub(r"<[^>]*>", " ", cell).split()) for cell in cells]
