"""The instructions on the global configuration: initialize_global_config, update_global_config, emergency_pause."""

from __future__ import annotations

from typing import Any

import pytest
from solders.keypair import Keypair
from svm_chain import SOL, START, refused, refused_by_system
from svm_harness import Zmart

DEFAULTS = {
    "protocol_fee_bps": 300,
    "resolver_reward_bps": 200,
    "liquidity_provider_fee_bps": 500,
    "proposal_approval_threshold": 7000,
    "dispute_success_threshold": 6000,
    "min_resolution_delay": 86_400,
    "dispute_period": 259_200,
    "min_resolver_reputation": 8000,
    "is_paused": False,
}
NEW = {
    "protocol_fee_bps": 1,
    "resolver_reward_bps": 2,
    "liquidity_provider_fee_bps": 3,
    "proposal_approval_threshold": 4,
    "dispute_success_threshold": 5,
}


def test_the_first_caller_becomes_admin_with_the_defaults(zmart: Zmart) -> None:
    config = zmart.chain.read("GlobalConfig", zmart.config)
    assert config["admin"] == zmart.admin.pubkey()
    assert config["backend_authority"] == zmart.backend.pubkey()
    assert config["protocol_fee_wallet"] == zmart.fee_wallet
    assert {name: config[name] for name in DEFAULTS} == DEFAULTS
    assert zmart.initialized.event["timestamp"] == START


def test_nobody_becomes_admin_twice(zmart: Zmart) -> None:
    with refused_by_system(0):
        zmart.initialize(zmart.admin)
    with refused_by_system(0):
        zmart.initialize(zmart.chain.wallet())


def test_an_update_overwrites_the_numbers_and_keeps_times_that_are_none(zmart: Zmart) -> None:
    event = zmart.update_config(**NEW, min_resolution_delay=None, dispute_period=7).event
    config = zmart.chain.read("GlobalConfig", zmart.config)
    expected = DEFAULTS | NEW | {"dispute_period": 7}
    assert {name: config[name] for name in DEFAULTS} == expected
    assert event == {name: expected[name] for name in event if name != "timestamp"} | {"timestamp": START}


def test_only_the_admin_updates(zmart: Zmart) -> None:
    for stranger in (zmart.backend, zmart.creator, zmart.chain.wallet()):
        with refused("Unauthorized"):
            zmart.update_config(stranger)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"protocol_fee_bps": 9_301}, "InvalidFeeStructure"),
        ({"protocol_fee_bps": 65_535, "resolver_reward_bps": 65_535}, "InvalidFeeStructure"),
        ({"proposal_approval_threshold": 10_001}, "InvalidThreshold"),
        ({"dispute_success_threshold": 10_001}, "InvalidThreshold"),
        ({"min_resolution_delay": 0}, "InvalidTimeLimit"),
        ({"dispute_period": -1}, "InvalidTimeLimit"),
        ({"protocol_fee_bps": 65_535, "dispute_success_threshold": 65_535}, "InvalidFeeStructure"),
        ({"dispute_success_threshold": 65_535, "dispute_period": 0}, "InvalidThreshold"),
    ],
)
def test_settings_out_of_bounds_are_refused(zmart: Zmart, changes: dict[str, Any], error: str) -> None:
    with refused(error):
        zmart.update_config(**changes)


def test_settings_at_their_bounds_are_taken(zmart: Zmart) -> None:
    fees = {"protocol_fee_bps": 10_000, "resolver_reward_bps": 0, "liquidity_provider_fee_bps": 0}
    thresholds = {"proposal_approval_threshold": 10_000, "dispute_success_threshold": 10_000}
    zmart.update_config(**fees, **thresholds, min_resolution_delay=1, dispute_period=1)


def test_a_pause_stops_new_markets_and_trades_and_a_second_call_lifts_it(zmart: Zmart) -> None:
    market, user = zmart.open(), zmart.chain.wallet()
    zmart.buy(market, user, True, SOL)
    assert zmart.pause().event["is_paused"] is True
    with refused("ProtocolPaused"):
        zmart.create()
    with refused("ProtocolPaused"):
        zmart.buy(market, user, True, SOL)
    with refused("ProtocolPaused"):
        zmart.sell(market, user, True, SOL)
    assert zmart.pause().event["is_paused"] is False
    zmart.sell(market, user, True, SOL)


def test_a_pause_does_not_hold_back_payouts(zmart: Zmart) -> None:
    market, user = zmart.open(), zmart.chain.wallet()
    zmart.buy(market, user, True, SOL)
    zmart.pause()
    zmart.finish(market, user, True)
    zmart.claim(market, user)
    zmart.withdraw(market)


def test_only_the_admin_pauses(zmart: Zmart) -> None:
    with refused("Unauthorized"):
        zmart.pause(zmart.backend)
    with refused("Unauthorized"):
        zmart.pause(Keypair())
