"""Tests that each figure that the API computes from trades equals the one summed from the raw trades."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from kit.chain_life import HOUR, Driver, name
from kit.gateway import Site, site
from kit.services import running_service
from kit.tape_oracle import ONE, Oracle, Trade, read
from kit.waiting import until
from zmart.chain.rpc import Rpc
from zmart.services.indexer.service import Indexer
from zmart.settings import Settings

WINDOWS = {
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "all": timedelta(days=9999),
}
_CLAIMS = (
    "SELECT market_id, event->>'user' AS wallet, (event->>'amount')::bigint AS amount, "
    "to_timestamp((event->>'timestamp')::bigint) AS at FROM chain_events "
)
_CLAIMS += "WHERE name = 'WinningsClaimed'"
_TRADES = "SELECT count(*) FROM chain_events WHERE name IN ('SharesBought', 'SharesSold')"


async def everything(here: Site, path: str, key: str) -> list[dict]:
    """Return all rows of a list, page by page."""
    rows: list[dict] = []
    cursor = ""
    while True:
        page = (await here.get(path, params={"limit": 50, "cursor": cursor})).json()
        rows += page[key]
        if not (cursor := page["next_cursor"] or ""):
            return rows


async def oracle_of(here: Site) -> Oracle:
    """Return an oracle of the markets and trades that the API lists and of the claims among the indexed events."""
    markets = {row["id"]: row for row in await everything(here, "/api/markets", "markets")}
    tape: list[tuple[int, Trade]] = []
    for market in markets:
        pages = await everything(here, f"/api/markets/{market}/trades", "trades")
        tape += [(row["slot"], read(row)) for row in _in_order(pages)]
    tape.sort(key=lambda item: item[0])
    claims = {
        (row["market_id"], row["wallet"]): (row["amount"], row["at"])
        for row in await here.pool.fetch(_CLAIMS)
    }
    assert len(tape) == await here.pool.fetchval(_TRADES)
    return Oracle(markets, [trade for _, trade in tape], claims)


def _in_order(rows: list[dict]) -> list[dict]:
    """Return the rows oldest first.

    The rows of each page are oldest first, but each page is older than the page before it.
    """
    pages = [rows[start : start + 50] for start in range(0, len(rows), 50)]
    return [row for page in reversed(pages) for row in page]


@pytest.mark.parametrize("trades", [25, pytest.param(200, marks=pytest.mark.slow)])
async def test_what_is_computed_from_the_tape_equals_the_raw_trades(
    database_url: str, redis_url: str, local_chain, trades: int
) -> None:
    values = {
        "solana_rpc_url": local_chain.rpc_url,
        "solana_ws_url": local_chain.ws_url,
        "zmart_env": "local",
    }
    settings = Settings(_env_file=None, database_url=database_url, indexer_scan_interval_s=0.2, **values)
    async with (
        Rpc([local_chain.rpc_url]) as rpc,
        running_service(await Indexer.open(settings)),
        site(database_url, redis_url, with_rules=False, rate_limit_reads=10**6, **values) as here,
    ):
        life = Driver(local_chain, rpc)
        await life.trade(trades, seed=5)
        await life.life()
        await life.travel(30 * HOUR)
        await life.trade(trades, seed=6)
        tip = await rpc.get_slot()

        async def caught_up() -> bool:
            return (await here.get("/api/status")).json()["gap_free_through_slot"] >= tip

        await until(caught_up, within_s=60)
        oracle = await oracle_of(here)
        now = max(datetime.now(UTC), oracle.trades[-1].at)
        await _markets_agree(here, oracle)
        await _trending_agrees(here, oracle, now)
        await _wallets_agree(here, oracle)
        await _leaders_agree(here, oracle, now)
        await _activity_agrees(here, oracle)
        assert any(trade.side == "sell" for trade in oracle.trades)
        assert any(held.claimed is not None for held in oracle.held.values())
        assert name(local_chain.keys.admin)


async def _markets_agree(here: Site, oracle: Oracle) -> None:
    for market, row in oracle.markets.items():
        tape = oracle.of_market(market)
        stats = (await here.get(f"/api/markets/{market}/stats")).json()["stats"]
        assert stats == oracle.market_stats(market)
        assert (row["total_trades"], row["traders"]) == (stats["total_trades"], stats["unique_traders"])
        assert row["total_volume"] == oracle.volume_on_chain(market)
        points = (await here.get(f"/api/markets/{market}/price-history?limit=5000")).json()["price_history"]
        assert [p["yes"] for p in points][-len(tape) :] == [
            round(t.price_e9 / 10**7, 7) for t in tape
        ] or not tape
        if not tape:
            continue
        assert row["current_price_yes"] == f"{tape[-1].price_e9 / ONE:.9f}"
        held = [position for position in oracle.held if position[0] == market]
        holders = (await here.get(f"/api/markets/{market}/holders?limit=200")).json()
        assert {h["wallet"]: (h["shares_yes"], h["shares_no"]) for h in holders["holders"]} == {
            wallet: (oracle.held[market, wallet].shares[True], oracle.held[market, wallet].shares[False])
            for _, wallet in held
        }
        for interval, seconds in (("1m", 60), ("5m", 300), ("1h", 3600)):
            await _candles_agree(here, oracle, market, interval, timedelta(seconds=seconds))


async def _candles_agree(here: Site, oracle: Oracle, market: str, interval: str, step: timedelta) -> None:
    start, end = oracle.of_market(market)[0].at - 3 * step, oracle.of_market(market)[-1].at + 3 * step
    start = max(start, end - 900 * step)
    query = {"interval": interval, "start": start.isoformat(), "end": end.isoformat()}
    answer = await here.get(f"/api/markets/{market}/candles", params=query)
    assert answer.status_code == 200, answer.text
    candles = answer.json()["candles"]
    assert sum(c["trades"] for c in candles) == sum(t.at >= start for t in oracle.of_market(market))
    times = [datetime.fromisoformat(c["timestamp"]) for c in candles]
    assert all(later - earlier == step for earlier, later in itertools.pairwise(times))
    for candle, at in zip(candles, times, strict=True):
        prices, volume, count = oracle.candle(market, at, step)
        result = [
            int(candle[f"{word}_price_yes"].replace(".", "")) for word in ("open", "high", "low", "close")
        ]
        assert (result, candle["volume"], candle["trades"]) == (prices, volume, count), candle


async def _trending_agrees(here: Site, oracle: Oracle, now: datetime) -> None:
    rows = (await here.get("/api/markets/trending?limit=200")).json()["trending"]
    result = [(r["id"], r["change24h"], r["volume24h"], r["uniqueTraders"]) for r in rows]
    assert result == oracle.trending(now)
    listed = [row["id"] for row in (await here.get("/api/markets?sort=trending&limit=200")).json()["markets"]]
    assert listed[: len(result)] == [market for market, *_ in result]


async def _wallets_agree(here: Site, oracle: Oracle) -> None:
    sampled = 0
    for wallet in {wallet for _, wallet in oracle.held}:
        held = oracle.of_wallet(wallet)
        stats = (await here.get(f"/api/users/{wallet}/stats")).json()
        expected = oracle.user_stats(wallet)
        assert {key: stats[key] for key in expected} == expected, wallet
        plain = (await here.get(f"/api/positions/{wallet}")).json()
        assert {p["market_id"]: (p["yes_shares"], p["no_shares"]) for p in plain} == {
            market: (one.shares[True], one.shares[False]) for market, one in held.items()
        }
        valued = {p["market_id"]: p for p in (await here.get(f"/api/users/{wallet}/positions")).json()}
        portfolio = (await here.get(f"/api/users/{wallet}/portfolio")).json()
        displayed = {p["market_id"]: p for p in portfolio["open_positions"] + portfolio["closed_positions"]}
        for market, one in held.items():
            value = one.worth(oracle.markets[market])
            assert valued[market]["current_value"] == str(value)
            assert displayed[market]["current_value"] == value
            assert (await here.get(f"/api/users/{wallet}/positions/{market}")).json() == displayed[market]
            assert valued[market]["roi"] == pytest.approx(one.roi(oracle.markets[market]), abs=0.01)
            assert displayed[market]["cost_basis"] == one.cost(oracle.markets[market])
            assert displayed[market]["realized_pnl"] == one.gained(oracle.markets[market])
            assert displayed[market]["unrealized_pnl"] == one.unrealized(oracle.markets[market])
            basis = one.basis[True] if one.claimed is None else 0
            average = basis * ONE // one.shares[True] if one.shares[True] else 0
            assert displayed[market]["average_cost_yes"] == f"{average // ONE}.{average % ONE:09d}"
        assert portfolio["realized_pnl"] == expected["realized_pnl"]
        assert portfolio["unrealized_pnl"] == expected["unrealized_pnl"]
        tape = [read(row) for row in await everything(here, f"/api/users/{wallet}/trades", "trades")]
        assert len(tape) == expected["total_trades"]
        opened = {p["market_id"] for p in portfolio["open_positions"]}
        assert opened == {market for market, one in held.items() if one.is_open(oracle.markets[market])}
        sampled += _history_agrees(oracle, wallet, portfolio)
    assert sampled, "no price that another wallet made is in a history"


def _history_agrees(oracle: Oracle, wallet: str, portfolio: dict) -> int:
    """Check the history, and return how many of its points are of prices that other wallets made.

    The time of the last point is that of the chain, rounded down: its values are those after all trades.
    """
    points = portfolio["history"]
    last_of = {datetime.fromisoformat(point["timestamp"]): _values(point) for point in points}
    changes = oracle.changes_of(wallet)
    assert changes <= last_of.keys()
    assert list(last_of) == sorted(last_of)
    for at, (value, *others) in last_of.items():
        expected, *rest = oracle.value_at(wallet, at)
        assert others == rest, at
        assert at in changes or at == max(last_of) or value == expected, at
    total = portfolio["value"], portfolio["cost_basis"], portfolio["realized_pnl"]
    assert _values(points[-1]) == total == oracle.value_at(wallet, datetime.max.replace(tzinfo=UTC))
    return len(last_of.keys() - changes - {max(last_of)})


def _values(point: dict) -> tuple[int, int, int]:
    return point["value"], point["invested"], point["realized_pnl"]


async def _leaders_agree(here: Site, oracle: Oracle, now: datetime) -> None:
    for window, length in WINDOWS.items():
        for by in ("pnl", "volume"):
            rows = (await here.get(f"/api/leaderboard?window={window}&by={by}&limit=200")).json()["leaders"]
            result = [(row["wallet"], row["pnl"], row["volume"]) for row in rows]
            assert result == oracle.leaders(by, length, now), (window, by)
            assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))


async def _activity_agrees(here: Site, oracle: Oracle) -> None:
    rows = (await here.get("/api/markets/activity?type=trade&limit=200")).json()["activities"]
    newest = sorted(oracle.trades, key=lambda t: t.at, reverse=True)[: len(rows)]
    assert len(rows) == min(200, len(oracle.trades))
    assert [row["time"] for row in rows] == [
        f"{t.at.isoformat(timespec='milliseconds')[:-6]}Z" for t in newest
    ]
    assert {(row["wallet"], row["amountLamports"]) for row in rows} <= {
        (t.wallet, t.cost) for t in oracle.trades
    }
