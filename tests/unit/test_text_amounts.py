"""`numeric=string` on the WebSocket: every amount is decimal text, and nothing else of a message changes."""

import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.feed_rows import MARKET, comment_row, market_row, trade_row
from zmart.feed.channels import ChannelKind
from zmart.feed.text_amounts import amount_names, with_text_amounts
from zmart.feed.wire import encode
from zmart.services.websocket.state import _snapshot
from zmart.store.change_feed import Change, Op, Topic
from zmart.store.live_state import LiveState

VOTE_ROW = {"kind": "proposal", "choice": "for", "wallet": "W", "tally": {"for": 2, "against": 1, "total": 3}}
CHANGES = [
    (Topic.MARKETS, market_row()),
    (Topic.TRADES, trade_row()),
    (Topic.VOTES, VOTE_ROW),
    (Topic.DISCUSSIONS, comment_row()),
]
STATES = [
    (ChannelKind.MARKETS, {"count": 1, "rows": [market_row()]}),
    (ChannelKind.MARKET, market_row()),
    (ChannelKind.TRADES, [trade_row()]),
]


def text_at_names(part: object) -> object:
    """Return a message with text in place of each integer whose field has the name of an amount."""
    if isinstance(part, dict):
        return {
            name: str(value) if name in amount_names() and isinstance(value, int) else text_at_names(value)
            for name, value in part.items()
        }
    return [text_at_names(item) for item in part] if isinstance(part, list) else part


@pytest.mark.parametrize(("topic", "row"), CHANGES, ids=lambda part: getattr(part, "value", ""))
def test_a_change_has_its_amounts_as_text_and_the_rest_as_it_was(topic: Topic, row: dict) -> None:
    change = Change(
        offset=12, committed_at=datetime(2026, 1, 2, tzinfo=UTC), topic=topic, op=Op.CREATED, market_id=MARKET,
        old_row=None, new_row=json.dumps(row),
    )  # fmt: skip
    message = encode(change, "an-epoch")
    [channel, *_] = message.channels
    sent = json.loads(message.with_text_amounts().payload(channel))
    assert sent == text_at_names(json.loads(message.payload(channel)))
    if topic is Topic.TRADES:
        assert (sent["data"]["shares"], sent["data"]["cost"], sent["data"]["slot"]) == ("3000", "1000", 5)
    if topic is Topic.MARKETS:
        assert sent["data"]["market"]["current_liquidity"] == "18446744073709551615"
        assert (sent["data"]["totalShares"], sent["data"]["market"]["trades_count"]) == ("1000", 2)


@pytest.mark.parametrize(("kind", "state"), STATES, ids=lambda part: getattr(part, "value", ""))
def test_a_state_has_its_amounts_as_text_and_the_rest_as_it_was(kind: ChannelKind, state: object) -> None:
    snapshot = bytes(_snapshot(kind, LiveState(epoch="e", head=3, kept_from=1, state=json.dumps(state))))
    sent = json.loads(with_text_amounts(snapshot))
    assert sent == text_at_names(json.loads(snapshot)) != json.loads(snapshot)


@given(st.text() | st.sampled_from(['"shares":7}', '\\"cost":7,', '{"cost":7}', '"cost\\":7,']))
def test_what_a_user_wrote_is_never_changed(content: str) -> None:
    message = msgspec.json.encode({"content": content, "cost": 7, "tags": [content, content]})
    assert json.loads(with_text_amounts(message)) == json.loads(message) | {"cost": "7"}
