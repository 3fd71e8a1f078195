"""A change becomes the same message in every process, on the channels that its subscribers expect."""

from datetime import UTC, datetime

import msgspec
import pytest

from kit.feed_rows import MARKET, comment_row, market_row, trade_row
from zmart.feed.channels import Channel, parse_channel
from zmart.feed.wire import encode
from zmart.store.change_feed import Change, Op, Topic

MARKET_ROW, TRADE_ROW, COMMENT_ROW = market_row(), trade_row(), comment_row()


def message(
    topic: Topic, op: Op, new: dict | None, old: dict | None = None, channel: str = "activity"
) -> dict:
    change = Change(
        offset=12,
        committed_at=datetime(2026, 1, 2, 3, 4, 5, 6789, tzinfo=UTC),
        topic=topic,
        op=op,
        market_id=MARKET,
        old_row=old and msgspec.json.encode(old).decode(),
        new_row=new and msgspec.json.encode(new).decode(),
    )
    encoded = encode(change, "an-epoch")
    assert encode(change, "an-epoch") == encoded
    decoded = msgspec.json.decode(encoded.payload(channel))
    return {**decoded, "channels": encoded.channels}


def test_the_envelope_names_channel_market_offset_slot_and_time():
    result = message(Topic.MARKETS, Op.CREATED, MARKET_ROW, channel="markets")
    assert {name: result[name] for name in result if name not in ("data", "channels")} == {
        "type": "market_state",
        "channel": "markets",
        "market_id": MARKET,
        "epoch": "an-epoch",
        "offset": 12,
        "slot": 77,
        "timestamp": "2026-01-02T03:04:05.006Z",
    }


def test_a_market_row_has_states_prices_and_exact_numbers():
    data = message(Topic.MARKETS, Op.UPDATED, MARKET_ROW, {**MARKET_ROW, "state": "APPROVED"})["data"]
    assert (data["action"], data["old_state"], data["new_state"]) == ("updated", "APPROVED", "ACTIVE")
    assert (data["priceYes"], data["priceNo"], data["totalShares"]) == (0.625, 0.375, 1000)
    market = data["market"]
    assert (market["current_price_yes"], market["current_price_no"]) == ("0.625000000", "0.375000000")
    assert market["current_liquidity"] == 18446744073709551615
    assert market["created_at"] == "2026-01-02T03:04:05.678Z"


def test_a_price_tick_is_no_activity_but_a_new_state_is():
    tick = message(Topic.MARKETS, Op.UPDATED, MARKET_ROW, {**MARKET_ROW, "shares_yes": 1}, channel="markets")
    assert tick["channels"] == ("markets", f"market:{MARKET}")
    moved = message(Topic.MARKETS, Op.UPDATED, MARKET_ROW, {**MARKET_ROW, "state": "APPROVED"})
    assert moved["channels"] == ("markets", f"market:{MARKET}", "activity")


def test_a_trade_carries_what_a_ticker_needs():
    result = message(Topic.TRADES, Op.CREATED, TRADE_ROW)
    assert result["channels"] == ("trades", f"trades:{MARKET}", f"market:{MARKET}", "activity")
    assert result["slot"] == 5
    data = result["data"]
    assert data["tradeId"] == data["id"] == f"{'S' * 88}:1"
    assert (data["trade_type"], data["outcome"], data["shares"], data["cost"]) == ("buy", "NO", 3_000, 1_000)
    assert (data["price"], data["price_after"]) == ("0.333333333", "0.000000001")
    assert data["user_wallet"] == data["trader"] == data["user"] == "W" * 44


def test_votes_of_both_kinds_and_both_sources_have_one_form():
    here = {
        "id": "x", "market_id": MARKET, "kind": "dispute", "wallet": "W" * 44, "choice": "for", "proven": True,
        "statement": "s", "signature": "g", "log_index": 0, "created_at": "2026-01-02T03:04:05+00:00",
        "tally": {"for": 1, "against": 0, "total": 1},
    }  # fmt: skip
    chain = {
        "market_id": MARKET, "kind": "proposal", "wallet": "W" * 44, "choice": "against", "signature": "s", "slot": 9,
        "voted_at": "2026-01-02T03:04:05+00:00", "tally": None,
    }  # fmt: skip
    first = message(Topic.VOTES, Op.CREATED, here)
    assert first["channels"] == (f"votes:{MARKET}", f"market:{MARKET}", "activity")
    assert (first["data"]["vote_type"], first["data"]["vote"], first["data"]["choice"]) == (
        "dispute",
        True,
        "agree",
    )
    assert first["data"]["tally"] == {"for": 1, "against": 0, "total": 1}
    second = message(Topic.ONCHAIN_VOTES, Op.CREATED, chain)
    assert (second["slot"], second["data"]["source"], second["data"]["choice"]) == (9, "onchain", "dislike")


def test_a_deleted_comment_is_told_without_its_content():
    made = message(Topic.DISCUSSIONS, Op.CREATED, COMMENT_ROW)["data"]
    assert (made["action"], made["discussion"]["content"]) == ("created", 'Ünïcode "x"')
    assert made["content"] == made["discussion"]["content"]
    assert (made["postId"], made["author"], made["parentId"]) == (COMMENT_ROW["id"], "W" * 44, None)
    marked = {**COMMENT_ROW, "deleted_at": "2026-01-02T03:04:06+00:00"}
    gone = message(Topic.DISCUSSIONS, Op.UPDATED, marked, COMMENT_ROW)["data"]
    assert (gone["action"], gone["discussion"]["content"], gone["content"]) == ("deleted", None, None)
    assert gone["discussion"]["deleted_at"] == "2026-01-02T03:04:06.000Z"
    erased = message(Topic.DISCUSSIONS, Op.DELETED, None, COMMENT_ROW)["data"]
    assert (erased["action"], erased["discussion"]["content"]) == ("deleted", None)


@pytest.mark.parametrize("name", ["markets", f"market:{MARKET}", "trades", f"trades:{MARKET}", f"votes:{MARKET}",
                                  f"discussions:{MARKET}", "activity"])  # fmt: skip
def test_every_channel_of_the_contract_is_known(name):
    result = parse_channel(name)
    assert result is not None
    assert str(Channel(result.kind, result.market)) == name


@pytest.mark.parametrize(
    "name", ["", ":", "market", "market:", "votes", "discussions", f"markets:{MARKET}", "x:y", "trades:"]
)
def test_no_other_channel_is_known(name):
    assert parse_channel(name) is None
