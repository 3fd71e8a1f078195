"""Parts of the gateway that need no server and no database."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.client.shapes.markets import Fees
from zmart.client.shapes.tape import Quote, TapeStats
from zmart.errors import Invalid, Unauthenticated
from zmart.market.amounts import amount_text, held_text, ratio_text, units_text
from zmart.market.pricing import FeeSchedule, Quantities, pricing_model
from zmart.market.types import Side
from zmart.services.gateway.api import paging, quotes
from zmart.services.gateway.api.lookup import moment_of
from zmart.services.gateway.app import cors_origins, socket_origin
from zmart.services.gateway.explorer.charts import price_path
from zmart.services.gateway.http.auth.session_tokens import SessionTokens
from zmart.services.gateway.http.rate_limits import LocalCounts
from zmart.services.gateway.http.responses import with_text_amounts
from zmart.setting_values import host_in_url
from zmart.settings import Settings

FEES = FeeSchedule(300, 200, 500)
MARKET = "ab" * 32


@given(st.integers(-(2**64), 2**64))
def test_amounts_as_text_are_exact(value: int) -> None:
    text = units_text(value)
    assert int(text.replace(".", "")) == value
    assert len(text.partition(".")[2]) == 9


@given(st.integers(0, 2**62 - 1), st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_a_cursor_remembers_its_place(slot: int, index: int, ordinal: int) -> None:
    key = paging.TapeKey(slot, index, ordinal)
    assert paging.key_of(paging.cursor_of(key), paging.TapeKey) == key


@given(st.text(max_size=80))
def test_any_text_is_a_cursor_of_ours_or_refused(text: str) -> None:
    for kind in (paging.TapeKey, paging.MarketKey, paging.TimeKey, paging.OffsetKey):
        with suppress(Invalid):
            paging.key_of(text, kind)


def test_only_amounts_become_text() -> None:
    stats = TapeStats(total_volume=2**63, total_trades=3, unique_traders=1, buy_volume=5, sell_volume=0)
    assert with_text_amounts([stats]) == [
        {
            "total_volume": str(2**63),
            "total_trades": 3,
            "unique_traders": 1,
            "buy_volume": "5",
            "sell_volume": "0",
        }
    ]
    assert with_text_amounts(Fees(protocol=1, resolver=2, liquidity_provider=3)) == {
        "protocol": "1", "resolver": "2", "liquidity_provider": "3",
    }  # fmt: skip


def test_the_window_slides(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, now = LocalCounts(), [600.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    assert [counts.take("k", 3).allowed for _ in range(4)] == [True, True, True, False]
    now[0] = 659.0
    assert not counts.take("k", 3).allowed
    now[0] = 690.0
    assert [counts.take("k", 3).allowed for _ in range(3)] == [True, True, False]
    now[0] = 800.0
    assert counts.take("k", 3).remaining == 2


def test_a_token_expires_and_is_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = SessionTokens("secret", None)
    text, token = tokens.issue("w")
    assert tokens.read(text) == token
    with pytest.raises(Unauthenticated, match="invalid"):
        SessionTokens("other", None).read(text)
    monkeypatch.setattr(time, "time", lambda: token.expires + 1.0)
    with pytest.raises(Unauthenticated, match="expired"):
        tokens.read(text)


@pytest.mark.parametrize("name", ["reference", "v069"])
@pytest.mark.parametrize("outcome", [True, False])
def test_a_quote_is_what_the_model_does_at_the_signed_bound(name: str, outcome: bool) -> None:
    model, quantities = pricing_model(name), Quantities(3 * 10**11, 10**11, 10**12)
    order = quotes.TradeOrder(side=Side.BUY, outcome=outcome, shares=5 * 10**9, slippage_bps=50)
    quote = quotes.quote(model, MARKET, quantities, FEES, order)
    assert quote.shares >= 5 * 10**9
    bought = model.buy_total(quantities, FEES, outcome, quote.max_cost)
    assert (bought.shares, bought.total) == (quote.shares, quote.total)
    order = quotes.TradeOrder(side=Side.SELL, outcome=outcome, shares=5 * 10**9, slippage_bps=200)
    quote = quotes.quote(model, MARKET, quantities, FEES, order)
    assert quote.min_proceeds == quote.net * 98 // 100
    assert quote.net == model.sell_total(quantities, FEES, outcome, 5 * 10**9).net


QUANTITIES = Quantities(3 * 10**11, 10**11, 10**12)


def bought(name: str = "reference", **order: int) -> Quote:
    requested = quotes.TradeOrder(side=Side.BUY, outcome=True, **order)
    return quotes.quote(pricing_model(name), MARKET, QUANTITIES, FEES, requested)


def test_a_buy_bounds_its_shares_by_the_quote() -> None:
    """A20: a quote bounds the shares, with 1 % tolerance by default; the default tolerance never raises the cost."""
    usual, exact = bought(max_cost=10**9), bought(max_cost=10**9, slippage_bps=0)
    assert (usual.min_shares, usual.max_cost, usual.slippage_bps) == (usual.shares * 99 // 100, 10**9, 100)
    assert (exact.min_shares, exact.slippage_bps) == (exact.shares, 0)
    assert bought(max_cost=10**9, min_shares=7).min_shares == 7
    by_shares = bought(shares=10**9)
    assert by_shares.min_shares == by_shares.shares * 99 // 100
    assert by_shares.max_cost == pricing_model("reference").cost_of_shares(QUANTITIES, FEES, True, 10**9)


@pytest.mark.parametrize("slippage_bps", [0, 50, 1_000])
def test_a_buy_of_shares_with_a_tolerance_gets_all_of_them(slippage_bps: int) -> None:
    """A20: a buy of a number of shares uses its tolerance to raise the cost, and never gets fewer shares."""
    quote = bought(shares=10**9, slippage_bps=slippage_bps)
    assert quote.shares >= quote.min_shares >= 10**9


def test_a_program_that_ignores_the_bound_is_not_said_to_hold_it() -> None:
    """A20: a program of v0.69 bounds only the cost: a quote has no min_shares, and a request with one is refused."""
    assert bought("v069", max_cost=10**9).min_shares is None
    with pytest.raises(Invalid, match="bounds the cost") as refusal:
        bought("v069", max_cost=10**9, min_shares=1)
    assert refusal.value.field == "min_shares"


def test_a_sale_has_no_bound_of_shares() -> None:
    order = quotes.TradeOrder(side=Side.SELL, outcome=True, shares=5, min_shares=5)
    with pytest.raises(Invalid, match="min_proceeds"):
        order.check()


def test_times_are_read_as_iso_or_milliseconds() -> None:
    noon = datetime(2026, 1, 15, 12, tzinfo=UTC)
    for text in ("2026-01-15T12:00:00Z", "2026-01-15T12:00:00", "2026-01-15T14:00:00+02:00", "1768478400000"):
        assert moment_of("start", text) == noon
    for bad in ("soon", "9" * 30, "", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"):
        with pytest.raises(Invalid):
            moment_of("start", bad)


@pytest.mark.parametrize(
    ("shares", "text"),
    [(0, "0"), (1, "0.000000001"), (9_999_999, "0.009999999"), (10_000_000, "0.01"), (2_484_760_790, "2.48"),
     (2_489_999_999, "2.48"), (3 * 10**9, "3"), (10**19, "10000000000")],
)  # fmt: skip
def test_a_wallet_is_told_no_more_shares_than_it_holds(shares: int, text: str) -> None:
    """P7: the text of a wallet's shares is never rounded up above the shares that the wallet holds."""
    assert held_text(shares) == text


@given(st.integers(0, 2**64))
def test_an_amount_in_a_sentence_is_exact(value: int) -> None:
    whole, _, rest = amount_text(value).partition(".")
    assert int(whole) * 10**9 + int(rest.ljust(9, "0")) == value


def test_ratios_round_towards_zero() -> None:
    assert ratio_text(1, 3) == "0.333333333"
    assert ratio_text(-1, 3) == "-0.333333333"
    assert ratio_text(5, 0) == "0.000000000"


def test_origins_come_from_either_setting() -> None:
    assert cors_origins(Settings(_env_file=None, cors_origins="https://a.example/, https://b.example")) == [
        "https://a.example", "https://b.example",
    ]  # fmt: skip
    assert socket_origin("wss://live.example/ws") == "wss://live.example"


def test_the_price_line_is_within_its_frame() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    later = datetime(2026, 1, 2, tzinfo=UTC)
    assert price_path([(at, 0), (later, 10**9)]) == "M0 180.0H640.0V0.0H640"
    assert price_path([]) == ""


def test_shapes_tolerate_fields_of_a_newer_server() -> None:
    raw = b'{"protocol":1,"resolver":2,"liquidity_provider":3,"new":4}'
    assert msgspec.json.decode(raw, type=Fees).protocol == 1


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "ws://127.0.0.1:4001"), ("::1", "ws://[::1]:4001"), ("::", "ws://[::]:4001")],
)
def test_an_ipv6_address_stands_in_brackets_in_a_url(host: str, url: str) -> None:
    """W19: an IPv6 address has brackets in a URL."""
    assert f"ws://{host_in_url(host)}:4001" == url
