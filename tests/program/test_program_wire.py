"""The program's bytes equal the wire vectors of v0.69, on which two encoders agree: an independent one and Anchor's."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from borsh_oracle import IDL, decode_account, decode_event, encode_account, encode_event, encode_instruction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from solders.pubkey import Pubkey
from svm_chain import (
    CID,
    DAY,
    PROGRAM,
    SOL,
    SPACES,
    START,
    Chain,
    NamedKey,
    Sent,
    config_address,
    pda,
    position_address,
    vote_address,
)
from svm_harness import Market, Zmart

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "pricing_and_wire_vectors.json").read_text())[
    "wire"
]
EVENTS = {name: base64.b64decode(text) for name, text in VECTORS["event_program_data_base64"].items()}
MARKET_ID = b"\x01" * 32
BACKEND, ADMIN, CREATOR, USER, RESOLVER, INITIATOR, MARKET_KEY, FEE_WALLET = (
    NamedKey(Pubkey.from_bytes(bytes([n]) * 32)) for n in range(2, 10)
)
INSTRUCTION_ARGUMENTS: dict[str, dict[str, Any]] = {
    "initialize_global_config": {"backend_authority": BACKEND.key},
    "create_market": {
        "market_id": MARKET_ID,
        "b_parameter": 100 * SOL,
        "initial_liquidity": SOL // 10,
        "ipfs_question_hash": CID,
    },
    "buy_shares": {"outcome": True, "target_cost": SOL},
    "sell_shares": {"outcome": False, "shares_to_sell": SOL // 2, "min_proceeds": SOL // 5},
    "resolve_market": {"proposed_outcome": True, "ipfs_evidence_hash": CID},
    "finalize_market_none": {"dispute_agree": None, "dispute_disagree": None},
    "finalize_market_some": {"dispute_agree": 60, "dispute_disagree": 40},
    "submit_proposal_vote": {"vote": True},
    "submit_dispute_vote": {"vote": False},
    "aggregate_proposal_votes": {"final_likes": 7, "final_dislikes": 3},
    "aggregate_dispute_votes": {"final_agrees": 60, "final_disagrees": 40},
}


class Cast:
    """The wallets of the vectors on a chain that does not verify signatures, since nobody has their secret keys."""

    def __init__(self) -> None:
        self.chain = Chain(sigverify=False)
        for person in (BACKEND, ADMIN, CREATOR, USER, RESOLVER, INITIATOR, FEE_WALLET):
            self.chain.put(person.key, b"", lamports=1_000_000 * SOL, owner=Pubkey.default())
        roles = {"admin": ADMIN, "backend": BACKEND, "creator": CREATOR, "fee_wallet": FEE_WALLET}
        self.zmart = Zmart(self.chain, roles)

    def market(self, **changes: Any) -> Market:
        """Create the market of the vectors and write `changes` into its account."""
        market = Market(MARKET_ID, CREATOR, 100 * SOL, 100 * SOL)
        self.created = self.zmart.create_sent(market)
        earlier = START - 10 * DAY
        moments = {"created_at": earlier, "activated_at": earlier, "resolution_proposed_at": START - 1}
        self.zmart.change_market(market, **moments | changes)
        return market


def created(cast: Cast) -> Sent:
    cast.market()
    return cast.created


def withdrawn(cast: Cast) -> Sent:
    amount = decode_event(EVENTS["LiquidityWithdrawn"])[1]["amount"]
    return cast.zmart.withdraw(cast.market(state="Finalized", current_liquidity=amount))


def configured(cast: Cast) -> Sent:
    return cast.zmart.update_config(min_resolution_delay=None, dispute_period=172_800)


DISPUTED = {"state": "Disputed", "proposed_outcome": True}
RUNS: dict[str, Callable[[Cast], Sent]] = {
    "GlobalConfigInitialized": lambda cast: cast.zmart.initialized,
    "MarketCreated": created,
    "ProposalVoteSubmitted": lambda cast: cast.zmart.vote(cast.market(), USER, True),
    "ProposalAggregated": lambda cast: cast.zmart.aggregate_proposal(cast.market(), 7, 3),
    "ProposalApproved": lambda cast: cast.zmart.approve(
        cast.market(proposal_likes=7, proposal_dislikes=3, proposal_total_votes=10)
    ),
    "MarketActivated": lambda cast: cast.zmart.activate(
        cast.market(state="Approved", initial_liquidity=SOL // 10)
    ),
    "MarketResolved": lambda cast: cast.zmart._run(
        "resolve_market",
        RESOLVER,
        INSTRUCTION_ARGUMENTS["resolve_market"],
        market=cast.market(state="Active").key,
        resolver=RESOLVER.key,
    ),
    "DisputeInitiated": lambda cast: cast.zmart.dispute(
        cast.market(state="Resolving", proposed_outcome=True), INITIATOR
    ),
    "DisputeVoteSubmitted": lambda cast: cast.zmart.vote(cast.market(**DISPUTED), USER, False, dispute=True),
    "DisputeAggregated": lambda cast: cast.zmart.aggregate_dispute(cast.market(**DISPUTED), 60, 40),
    "MarketFinalized": lambda cast: cast.zmart.finalize(cast.market(**DISPUTED), 60, 40),
    "LiquidityWithdrawn": withdrawn,
    "ConfigUpdated": configured,
    "ProtocolPauseStatusChanged": lambda cast: cast.zmart.pause(),
    "MarketCancelled": lambda cast: cast.zmart.cancel(cast.market()),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_event_is_the_vector_byte_for_byte(name: str) -> None:
    assert RUNS[name](Cast()).raw_events == [EVENTS[name]]


def test_winnings_claimed_is_the_vector_but_for_the_market_address() -> None:
    cast = Cast()
    expected = decode_event(EVENTS["WinningsClaimed"])[1]
    market = cast.market(state="Active")
    cast.zmart.buy(market, USER, True, SOL)
    cast.zmart.change_position(market, USER, shares_yes=expected["amount"])
    cast.zmart.change_market(market, state="Finalized", final_outcome=True, resolver=RESOLVER.key)
    [raw] = cast.zmart.claim(market, USER).raw_events
    assert raw.replace(bytes(market.key), bytes(MARKET_KEY.key)) == EVENTS["WinningsClaimed"]


@pytest.mark.parametrize("name", ["SharesBought", "SharesSold"])
def test_trade_events_have_the_layout_of_the_vector(name: str) -> None:
    """v0.69 prices differently, so shares, amounts and price are replaced; every other byte is compared."""
    cast = Cast()
    market = cast.market(state="Active")
    sent = cast.zmart.buy(market, USER, True, SOL)
    if name == "SharesSold":
        sent = cast.zmart.sell(market, USER, True, SOL // 2)
    [raw] = sent.raw_events
    numbers = {
        key: sent.event[key] for key in ("shares", "cost", "proceeds", "new_price_yes") if key in sent.event
    }
    assert raw == encode_event(name, decode_event(EVENTS[name])[1] | numbers)


@pytest.mark.parametrize("name", IDL["events"], ids=lambda item: item["name"])
def test_the_oracle_itself_reproduces_every_event_vector(name: dict[str, Any]) -> None:
    decoded, fields = decode_event(EVENTS[name["name"]])
    assert decoded == name["name"]
    assert encode_event(decoded, fields) == EVENTS[decoded]


@pytest.mark.parametrize("name", INSTRUCTION_ARGUMENTS)
def test_the_instructions_sent_here_are_the_vectors(name: str) -> None:
    plain = name.removesuffix("_none").removesuffix("_some")
    data = encode_instruction(plain, **INSTRUCTION_ARGUMENTS[name])
    assert data.hex() == VECTORS["instruction_data_hex"][name]


def test_the_global_config_account_is_the_vector() -> None:
    data = Cast().chain.data(config_address())
    assert data.hex() == VECTORS["account_data_hex"]["globalConfig"]


def test_a_vote_record_is_the_vector_but_for_the_market_and_the_bump() -> None:
    cast = Cast()
    market = cast.market()
    cast.zmart.vote(market, USER, True)
    record = cast.chain.data(vote_address(market.key, USER.key, 0))
    vector = bytes.fromhex(VECTORS["account_data_hex"]["voteRecord"])
    assert decode_account("VoteRecord", vector)["vote_type"] == "Dispute"
    fields = decode_account("VoteRecord", vector) | {
        "market": market.key,
        "vote_type": "Proposal",
        "bump": 255,
    }
    assert record == encode_account("VoteRecord", fields, SPACES["VoteRecord"])


def test_the_program_reads_and_rewrites_the_market_vector() -> None:
    """finalize_market keeps every field of a v0.69 market, except those that finalizing sets."""
    cast = Cast()
    vector = bytes.fromhex(VECTORS["account_data_hex"]["marketAccount"])
    fields = decode_account("MarketAccount", vector)
    assert encode_account("MarketAccount", fields, SPACES["MarketAccount"]) == vector
    market = cast.market()
    disputed = DISPUTED | {"bump": 255, "current_liquidity": fields["initial_liquidity"]}
    cast.zmart.change_market(market, **fields | disputed)
    cast.zmart.finalize(market, 60, 40)
    changed = {"state": "Finalized", "final_outcome": False, "was_disputed": True, "finalized_at": START}
    counted = {"dispute_agree": 60, "dispute_disagree": 40, "dispute_total_votes": 100}
    expected = fields | disputed | changed | counted
    assert cast.chain.data(market.key) == encode_account("MarketAccount", expected, SPACES["MarketAccount"])


def test_a_position_is_the_vector_but_for_what_was_bought() -> None:
    cast = Cast()
    market = cast.market(state="Active")
    event = cast.zmart.buy(market, USER, True, SOL).event
    vector = decode_account("UserPosition", bytes.fromhex(VECTORS["account_data_hex"]["userPosition"]))
    bought = {"shares_yes": event["shares"], "total_invested": event["cost"], "last_trade_at": START}
    expected = vector | bought | {"market": market.key, "bump": 254}
    data = cast.chain.data(position_address(market.key, USER.key))
    assert data == encode_account("UserPosition", expected, SPACES["UserPosition"])


def test_derived_addresses_are_the_vectors() -> None:
    market = pda(b"market", MARKET_ID)
    user = bytes(USER.key)
    result = {
        "global_config": pda(b"global-config"),
        "market(id=0x01*32)": market,
        "vote proposal": pda(b"vote", bytes(market[0]), user, b"\0"),
        "vote dispute": pda(b"vote", bytes(market[0]), user, b"\1"),
    }
    for name, (key, bump) in result.items():
        assert VECTORS["pda"][name] == [str(key), bump]
    assert str(PROGRAM) == VECTORS["program_id"]


TEXTS = {"reserved": 119, "ipfs_evidence_hash": 46}
OPTIONAL = {"proposed_outcome": st.none() | st.booleans(), "final_outcome": st.none() | st.booleans()}
NUMBERS = {
    "u64": st.integers(0, 2**64 - 1),
    "u32": st.integers(0, 2**32 - 1),
    "i64": st.integers(-(2**62), 2**62),
}


def any_market() -> st.SearchStrategy[dict[str, Any]]:
    shape = next(item["type"]["fields"] for item in IDL["types"] if item["name"] == "MarketAccount")
    numbers = {field["name"]: NUMBERS[field["type"]] for field in shape if str(field["type"]) in NUMBERS}
    flags = {field["name"]: st.booleans() for field in shape if field["type"] == "bool"}
    messages = {
        "reserved": st.binary(min_size=119, max_size=119),
        "ipfs_evidence_hash": st.binary(min_size=46, max_size=46),
    }
    moments = {"cancelled_at": st.none() | NUMBERS["i64"]}
    return st.fixed_dictionaries(OPTIONAL | numbers | flags | messages | moments)


CAST = Cast()
ANY = CAST.market()
PLAIN = CAST.zmart.market(ANY)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(any_market(), st.integers(0, 2**31), st.integers(0, 2**31 - 1))  # the total is an u32
def test_any_market_survives_a_rewrite(fields: dict[str, Any], likes: int, dislikes: int) -> None:
    """An instruction keeps all fields, whichever optional ones are set, and clears stale bytes after the data."""
    before = PLAIN | fields | {"state": "Proposed"}
    data = encode_account("MarketAccount", before, SPACES["MarketAccount"])
    length = len(encode_account("MarketAccount", before, 0))
    CAST.chain.put(ANY.key, data[:length].ljust(SPACES["MarketAccount"], b"\xee"))
    CAST.zmart.aggregate_proposal(ANY, likes, dislikes)
    counted = {
        "proposal_likes": likes,
        "proposal_dislikes": dislikes,
        "proposal_total_votes": likes + dislikes,
    }
    expected = encode_account("MarketAccount", before | counted, SPACES["MarketAccount"])
    assert CAST.chain.data(ANY.key) == expected
