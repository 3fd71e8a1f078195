"""P11: the explorer shows a transaction's events with units, words and times that people can read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args, get_type_hints

import msgspec
import pytest

from kit.wallets import address, market_id
from zmart.market import events
from zmart.market.types import Address, Lamports, MarketId, Shares, Wallet
from zmart.services.gateway.explorer.event_fields import EventField, fields_of

_EXAMPLES: dict[object, object] = {MarketId: market_id(1), Wallet: address(2), Address: address(3)}


def described(name: str, **details: object) -> dict[str, str]:
    return {field.label: field.text for field in fields_of(name, {"event": name, **details})}


def test_amounts_have_units_and_outcomes_are_words() -> None:
    bought = {"user": address(2), "outcome": True, "shares": 2 * 10**9, "cost": 1_100_000_000,
              "new_price_yes": 510_000_000, "timestamp": 1}  # fmt: skip
    assert described("SharesBought", market_id=market_id(1), **bought) == {
        "Wallet": address(2),
        "Outcome": "YES",
        "Shares": "2.00 shares",
        "Cost": "1.100 SOL",
        "Price of YES after": "51.0%",
    }
    assert described("MarketFinalized", final_outcome=None)["Final outcome"] == "INVALID"
    assert described("DisputeVoteSubmitted", vote=True) == {"Vote": "wrong"}
    assert described("ProposalVoteSubmitted", vote=False) == {"Vote": "against"}
    assert described("ConfigUpdated", dispute_period=172_800, protocol_fee_bps=300) == {
        "Dispute period": "2 days",
        "Protocol fee bps": "3%",
    }


def test_wallets_times_and_documents_are_told_apart_and_exact_amounts_are_kept() -> None:
    fields = {
        field.label: field
        for field in fields_of("MarketCancelled", {"cancelled_by": address(4), "cancelled_at": 60})
    }
    assert fields["Cancelled by"].kind == "wallet"
    assert fields["Cancelled at"].moment == datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
    assert fields_of("MarketResolved", {"evidence_hash": "Qm"}) == [
        EventField(label="Evidence on IPFS", text="Qm", kind="cid")
    ]
    assert fields_of("SharesSold", {"proceeds": 7})[0].exact == "7 lamports"


@pytest.mark.parametrize("kind", get_args(events.AnyEvent), ids=lambda kind: kind.__name__)
def test_every_amount_of_every_event_has_its_unit(kind: type[events.Event]) -> None:
    hints = get_type_hints(kind)
    details = {
        name: _EXAMPLES.get(hint, 3 * 10**9) for name, hint in hints.items() if name in kind.__struct_fields__
    }
    units = {
        name: unit
        for name, hint in hints.items()
        for base, unit in ((Lamports, " SOL"), (Shares, " shares"))
        if _is(hint, base)
    }
    texts = {field.label.lower(): field.text for field in fields_of(kind.__name__, details)}
    assert sum(text.endswith((" SOL", " shares")) for text in texts.values()) == len(units)
    assert msgspec.json.encode(details)


def _is(hint: object, base: object) -> bool:
    return hint is base or base in get_args(hint)
