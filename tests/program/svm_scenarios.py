"""One scenario for each instruction: a chain in which the instruction would succeed, ready to be sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.system_program import ID as SYSTEM
from svm_chain import (
    CID,
    DAY,
    DISPUTE_PERIOD,
    EVIDENCE,
    SOL,
    Chain,
    config_address,
    instruction,
    market_address,
    vote_address,
)
from svm_harness import Market, Zmart


@dataclass(frozen=True)
class Scenario:
    chain: Chain
    instruction: Instruction
    signer: Keypair


def initialize_global_config() -> Scenario:
    chain = Chain()
    admin, backend, fee_wallet = (chain.wallet() for _ in range(3))
    accounts = {"admin": admin.pubkey(), "global_config": config_address(), "system_program": SYSTEM}
    accounts["protocol_fee_wallet"] = fee_wallet.pubkey()
    built = instruction("initialize_global_config", accounts, backend_authority=backend.pubkey())
    return Scenario(chain, built, admin)


def update_global_config() -> Scenario:
    z = Zmart()
    fees = {"protocol_fee_bps": 1, "resolver_reward_bps": 2, "liquidity_provider_fee_bps": 3}
    thresholds = {"proposal_approval_threshold": 4, "dispute_success_threshold": 5}
    args = fees | thresholds | {"min_resolution_delay": 6, "dispute_period": None}
    return Scenario(z.chain, z.build("update_global_config", args, admin=z.admin.pubkey()), z.admin)


def emergency_pause() -> Scenario:
    z = Zmart()
    return Scenario(z.chain, z.build("emergency_pause", admin=z.admin.pubkey()), z.admin)


def create_market() -> Scenario:
    z = Zmart()
    args = {
        "market_id": b"\x07" * 32,
        "b_parameter": SOL,
        "initial_liquidity": SOL,
        "ipfs_question_hash": CID,
    }
    accounts = {"creator": z.creator.pubkey(), "market": market_address(args["market_id"])}
    return Scenario(z.chain, z.build("create_market", args, **accounts), z.creator)


def submit_proposal_vote() -> Scenario:
    z = Zmart()
    return _vote(z, z.create(), "submit_proposal_vote", 0)


def submit_dispute_vote() -> Scenario:
    z = Zmart()
    return _vote(z, _disputed(z), "submit_dispute_vote", 1)


def aggregate_proposal_votes() -> Scenario:
    z = Zmart()
    accounts = {"market": z.create().key, "backend_authority": z.backend.pubkey()}
    args = {"final_likes": 1, "final_dislikes": 2}
    return Scenario(z.chain, z.build("aggregate_proposal_votes", args, **accounts), z.backend)


def approve_proposal() -> Scenario:
    z = Zmart()
    market = z.create()
    z.aggregate_proposal(market, 7, 3)
    built = z.build("approve_proposal", admin=z.admin.pubkey(), market=market.key)
    return Scenario(z.chain, built, z.admin)


def activate_market() -> Scenario:
    z = Zmart()
    market = z.create()
    z.aggregate_proposal(market, 7, 3)
    z.approve(market)
    built = z.build("activate_market", authority=z.creator.pubkey(), market=market.key)
    return Scenario(z.chain, built, z.creator)


def cancel_market() -> Scenario:
    z = Zmart()
    built = z.build("cancel_market", admin=z.admin.pubkey(), market=z.create().key)
    return Scenario(z.chain, built, z.admin)


def buy_shares() -> Scenario:
    z = Zmart()
    user = z.chain.wallet()
    args = {"outcome": True, "target_cost": SOL}
    return Scenario(z.chain, z.build("buy_shares", args, **z.position_accounts(z.open(), user)), user)


def sell_shares() -> Scenario:
    z = Zmart()
    market, user = _bought(z)
    args = {"outcome": True, "shares_to_sell": SOL, "min_proceeds": 1}
    return Scenario(z.chain, z.build("sell_shares", args, **z.position_accounts(market, user)), user)


def resolve_market() -> Scenario:
    z = Zmart()
    market, resolver = z.open(), z.chain.wallet()
    z.chain.wait(DAY)
    args = {"proposed_outcome": True, "ipfs_evidence_hash": EVIDENCE}
    built = z.build("resolve_market", args, market=market.key, resolver=resolver.pubkey())
    return Scenario(z.chain, built, resolver)


def initiate_dispute() -> Scenario:
    z = Zmart()
    market, initiator = _resolving(z), z.chain.wallet()
    built = z.build("initiate_dispute", market=market.key, initiator=initiator.pubkey())
    return Scenario(z.chain, built, initiator)


def aggregate_dispute_votes() -> Scenario:
    z = Zmart()
    accounts = {"market": _disputed(z).key, "backend_authority": z.backend.pubkey()}
    args = {"final_agrees": 6, "final_disagrees": 4}
    return Scenario(z.chain, z.build("aggregate_dispute_votes", args, **accounts), z.backend)


def finalize_market() -> Scenario:
    z = Zmart()
    accounts = {"market": _resolving(z).key, "backend_authority": z.backend.pubkey()}
    z.chain.wait(DISPUTE_PERIOD)
    args = {"dispute_agree": 1, "dispute_disagree": 2}
    return Scenario(z.chain, z.build("finalize_market", args, **accounts), z.backend)


def claim_winnings() -> Scenario:
    z = Zmart()
    market, user = _bought(z)
    resolver = z.chain.wallet()
    z.finish(market, resolver, True)
    accounts = z.position_accounts(market, user) | {"resolver": resolver.pubkey()}
    return Scenario(z.chain, z.build("claim_winnings", **accounts), user)


def withdraw_liquidity() -> Scenario:
    z = Zmart()
    market, _ = _bought(z)
    z.finish(market, z.chain.wallet(), True)
    built = z.build("withdraw_liquidity", market=market.key, creator=z.creator.pubkey())
    return Scenario(z.chain, built, z.creator)


def _vote(z: Zmart, market: Market, name: str, kind: int) -> Scenario:
    user = z.chain.wallet()
    record = vote_address(market.key, user.pubkey(), kind)
    accounts = {"market": market.key, "vote_record": record, "user": user.pubkey()}
    return Scenario(z.chain, z.build(name, {"vote": True}, **accounts), user)


def _bought(z: Zmart) -> tuple[Market, Keypair]:
    market, user = z.open(), z.chain.wallet()
    z.buy(market, user, True, SOL)
    return market, user


def _resolving(z: Zmart) -> Market:
    market = z.open()
    z.chain.wait(DAY)
    z.resolve(market, z.chain.wallet(), True)
    z.chain.wait(1)
    return market


def _disputed(z: Zmart) -> Market:
    market = _resolving(z)
    z.dispute(market, z.chain.wallet())
    return market


SCENARIOS: dict[str, Callable[[], Scenario]] = {
    scenario.__name__: scenario
    for scenario in (
        initialize_global_config,
        update_global_config,
        emergency_pause,
        create_market,
        submit_proposal_vote,
        submit_dispute_vote,
        aggregate_proposal_votes,
        approve_proposal,
        activate_market,
        cancel_market,
        buy_shares,
        sell_shares,
        resolve_market,
        initiate_dispute,
        aggregate_dispute_votes,
        finalize_market,
        claim_winnings,
        withdraw_liquidity,
    )
}
