"""Instructions, events, accounts and derived addresses equal the wire vectors, byte for byte."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path

import base58
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from zmart.chain.accounts import AccountInfo
from zmart.chain.borsh import bytes_of, text_of
from zmart.chain.events import EVENT_TYPES, UnknownEvent
from zmart.chain.idl import load_idl
from zmart.chain.program import Program
from zmart.errors import ConfigError, DecodeError, Invalid
from zmart.market.types import MarketState, VoteKind
from zmart.settings import Settings

WIRE = json.loads((Path(__file__).parents[1] / "vectors/pricing_and_wire_vectors.json").read_text())["wire"]
PROGRAM = Program(Pubkey.from_string(WIRE["program_id"]), load_idl())
MARKET_ID = "01" * 32
CID = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG"


def key(n):
    return base58.b58encode(bytes([n]) * 32).decode()


BACKEND, ADMIN, CREATOR, USER, RESOLVER, INITIATOR, FEES = map(key, (2, 3, 4, 5, 6, 7, 9))
MARKET = PROGRAM.addresses.market(MARKET_ID)
build = PROGRAM.instructions
CALLS = {
    "initialize_global_config": lambda: build.initialize_global_config(ADMIN, BACKEND, FEES),
    "create_market": lambda: build.create_market(
        CREATOR,
        MARKET_ID,
        b_parameter=100_000_000_000,
        initial_liquidity=100_000_000,
        ipfs_question_hash=CID,
    ),
    "buy_shares": lambda: build.buy_shares(USER, MARKET_ID, FEES, outcome=True, target_cost=1_000_000_000),
    "sell_shares": lambda: build.sell_shares(
        USER, MARKET_ID, FEES, outcome=False, shares_to_sell=500_000_000, min_proceeds=200_000_000
    ),
    "resolve_market": lambda: build.resolve_market(
        RESOLVER, MARKET_ID, proposed_outcome=True, ipfs_evidence_hash=CID
    ),
    "finalize_market_none": lambda: build.finalize_market(BACKEND, MARKET_ID),
    "finalize_market_some": lambda: build.finalize_market(BACKEND, MARKET_ID, (60, 40)),
    "submit_proposal_vote": lambda: build.submit_proposal_vote(USER, MARKET_ID, True),
    "submit_dispute_vote": lambda: build.submit_dispute_vote(USER, MARKET_ID, False),
    "aggregate_proposal_votes": lambda: build.aggregate_proposal_votes(BACKEND, MARKET_ID, 7, 3),
    "aggregate_dispute_votes": lambda: build.aggregate_dispute_votes(BACKEND, MARKET_ID, 60, 40),
    "update_global_config": lambda: build.update_global_config(
        ADMIN,
        protocol_fee_bps=300,
        resolver_reward_bps=200,
        liquidity_provider_fee_bps=500,
        proposal_approval_threshold=7000,
        dispute_success_threshold=6000,
        dispute_period=172_800,
    ),
}
WITHOUT_ARGS = {
    "approve_proposal": lambda: build.approve_proposal(ADMIN, MARKET_ID),
    "activate_market": lambda: build.activate_market(CREATOR, MARKET_ID),
    "initiate_dispute": lambda: build.initiate_dispute(INITIATOR, MARKET_ID),
    "claim_winnings": lambda: build.claim_winnings(USER, MARKET_ID, RESOLVER),
    "withdraw_liquidity": lambda: build.withdraw_liquidity(CREATOR, MARKET_ID),
    "emergency_pause": lambda: build.emergency_pause(ADMIN),
    "cancel_market": lambda: build.cancel_market(ADMIN, MARKET_ID),
}


@pytest.mark.parametrize("name", WIRE["instruction_data_hex"])
def test_instruction_data_equals_the_vector(name):
    assert CALLS[name]().data.hex() == WIRE["instruction_data_hex"][name]


def test_every_instruction_of_the_idl_can_be_built_and_read_back():
    built = {}
    for make in (*CALLS.values(), *WITHOUT_ARGS.values()):
        instruction = make()
        built[build.decode(instruction.data).name] = instruction
    assert built.keys() == PROGRAM.idl.instructions.keys()
    for name, instruction in built.items():
        item = PROGRAM.idl.instructions[name]
        flags = [(meta.is_signer, meta.is_writable) for meta in instruction.accounts]
        assert flags == [(account.signer, account.writable) for account in item.accounts]
        assert instruction.program_id == PROGRAM.id


def test_accounts_stand_where_the_idl_wants_them():
    instruction = CALLS["buy_shares"]()
    at = dict(
        zip(
            [a.name for a in PROGRAM.idl.instructions["buy_shares"].accounts],
            [str(m.pubkey) for m in instruction.accounts],
            strict=True,
        )
    )
    assert at == {
        "global_config": WIRE["pda"]["global_config"][0],
        "market": MARKET,
        "position": PROGRAM.addresses.position(MARKET, USER),
        "user": USER,
        "protocol_fee_wallet": FEES,
        "system_program": "11111111111111111111111111111111",
    }
    assert build.account_of("buy_shares", "market", [str(m.pubkey) for m in instruction.accounts]) == MARKET


def test_decoded_arguments_are_what_was_built():
    call = build.decode(CALLS["create_market"]().data)
    assert call.args == {
        "market_id": MARKET_ID,
        "b_parameter": 100_000_000_000,
        "initial_liquidity": 100_000_000,
        "ipfs_question_hash": CID,
    }
    assert build.decode(CALLS["finalize_market_some"]().data).args == {
        "dispute_agree": 60,
        "dispute_disagree": 40,
    }


@pytest.mark.parametrize("cid", ["", CID[:-1], CID + "a", "é" * 46, "bafy" + "a" * 42, "Qm" + "0" * 44])
def test_a_cid_of_another_shape_is_refused(cid):
    with pytest.raises(Invalid, match="CIDv0"):
        build.resolve_market(RESOLVER, MARKET_ID, proposed_outcome=True, ipfs_evidence_hash=cid)


@pytest.mark.parametrize("cost", [-1, 2**64, 1.5, True, None, "7"])
def test_an_amount_that_is_no_u64_is_refused_by_name(cost):
    with pytest.raises(Invalid) as refusal:
        build.buy_shares(USER, MARKET_ID, FEES, outcome=True, target_cost=cost)
    assert refusal.value.field == "target_cost"


def test_the_fewest_shares_follow_the_arguments_and_change_nothing_for_other_readers():
    """A20: min_shares adds eight bytes to a buy; the IDL's arguments, the accounts and the decoding stay the same."""
    plain = build.buy_shares(USER, MARKET_ID, FEES, outcome=True, target_cost=7)
    bounded = build.buy_shares(USER, MARKET_ID, FEES, outcome=True, target_cost=7, min_shares=5)
    assert bytes(bounded.data) == bytes(plain.data) + (5).to_bytes(8, "little")
    assert bounded.accounts == plain.accounts
    assert build.decode(bytes(bounded.data)) == build.decode(bytes(plain.data))
    for wrong in (-1, 2**64):
        with pytest.raises(Invalid) as refusal:
            build.buy_shares(USER, MARKET_ID, FEES, outcome=True, target_cost=7, min_shares=wrong)
        assert refusal.value.field == "min_shares"


def test_creditors_follow_the_accounts_of_the_interface():
    """A19: creditors are added as writable accounts that do not sign, after the accounts of the IDL."""
    plain = build.claim_winnings(USER, MARKET_ID, RESOLVER)
    longer = build.claim_winnings(USER, MARKET_ID, RESOLVER, [FEES])
    assert longer.accounts[:-1] == plain.accounts
    added = build.withdraw_liquidity(CREATOR, MARKET_ID, [RESOLVER, FEES]).accounts[-2:]
    assert [str(meta.pubkey) for meta in [longer.accounts[-1], *added]] == [FEES, RESOLVER, FEES]
    assert all(meta.is_writable and not meta.is_signer for meta in added)


@pytest.mark.parametrize("market_id", ["", "01", "zz" * 32, "01" * 33])
def test_a_market_id_of_another_shape_is_refused(market_id):
    with pytest.raises(DecodeError, match="market id"):
        build.approve_proposal(ADMIN, market_id)


def test_derived_addresses_equal_the_vectors():
    pda, addresses = WIRE["pda"], PROGRAM.addresses
    assert addresses.global_config() == pda["global_config"][0]
    assert pda["market(id=0x01*32)"][0] == MARKET
    position = next(value for name, value in pda.items() if name.startswith("position"))
    assert addresses.position(MARKET, USER) == position[0]
    assert addresses.vote_record(MARKET, USER, VoteKind.PROPOSAL) == pda["vote proposal"][0]
    assert addresses.vote_record(MARKET, USER, VoteKind.DISPUTE) == pda["vote dispute"][0]


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_event_decodes_and_encodes_as_the_vector(name):
    payload = base64.b64decode(WIRE["event_program_data_base64"][name])
    event = PROGRAM.events.decode(payload)
    assert type(event).__name__ == name
    assert PROGRAM.events.encode(event) == payload
    time = getattr(event, "timestamp", None) or event.cancelled_at
    assert time == 1_762_772_000


def test_there_are_eighteen_events():
    assert len(EVENT_TYPES) == 18
    assert EVENT_TYPES.keys() == PROGRAM.idl.events.keys() == WIRE["event_program_data_base64"].keys()


def test_event_values_are_exact():
    event = PROGRAM.events.decode(base64.b64decode(WIRE["event_program_data_base64"]["SharesBought"]))
    assert (event.market_id, event.user, event.outcome) == (MARKET_ID, USER, True)
    assert (event.shares, event.cost, event.new_price_yes) == (1_835_823_062, 999_928_380, 504_589_428)


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_a_cut_or_longer_event_is_refused(name):
    payload = base64.b64decode(WIRE["event_program_data_base64"][name])
    for wrong in (*(payload[:n] for n in range(8, len(payload))), payload + b"\0"):
        with pytest.raises(DecodeError):
            PROGRAM.events.decode(wrong)


@given(st.binary(max_size=200))
def test_random_bytes_are_a_decode_error_or_an_event(raw):
    for payload in (raw, *(disc + raw for disc in PROGRAM.idl.events.values())):
        try:
            event = PROGRAM.events.decode(payload)
        except DecodeError:
            continue
        assert PROGRAM.events.encode(event) == payload


def test_an_unknown_discriminator_says_so():
    with pytest.raises(UnknownEvent, match="0001020304050607"):
        PROGRAM.events.decode(bytes(range(40)))


ACCOUNTS = {
    "globalConfig": PROGRAM.accounts.global_config,
    "marketAccount": PROGRAM.accounts.market,
    "userPosition": PROGRAM.accounts.position,
    "voteRecord": PROGRAM.accounts.vote_record,
}


def info(data, owner=PROGRAM.address):
    return AccountInfo(address=MARKET, owner=owner, lamports=1, data=data)


@pytest.mark.parametrize("name", ACCOUNTS)
def test_account_decodes_and_encodes_as_the_vector(name):
    data = bytes.fromhex(WIRE["account_data_hex"][name])
    written = PROGRAM.accounts.encode(ACCOUNTS[name](info(data)))
    assert data.startswith(written)
    assert not data[len(written) :].strip(b"\0")


def test_market_account_values_are_exact():
    market = PROGRAM.accounts.market(info(bytes.fromhex(WIRE["account_data_hex"]["marketAccount"])))
    assert (market.market_id, market.creator, market.state) == (MARKET_ID, CREATOR, MarketState.ACTIVE)
    assert market.b_parameter == 100_000_000_000
    assert (market.proposed_outcome, market.final_outcome, market.cancelled_at) == (None, None, None)
    assert (market.ipfs_evidence_hash, market.bump) == (CID, 254)


def test_market_account_with_its_options_set_moves_what_follows():
    market = PROGRAM.accounts.market(info(bytes.fromhex(WIRE["account_data_hex"]["marketAccount"])))
    filled = msgspec.structs.replace(
        market, proposed_outcome=False, final_outcome=True, cancelled_at=1_762_772_000
    )
    data = PROGRAM.accounts.encode(filled)
    assert len(data) == 483
    assert data[203 + 2 : 249 + 2] == CID.encode()
    assert PROGRAM.accounts.market(info(data + bytes(5))) == filled


def test_vote_record_names_its_kind():
    record = PROGRAM.accounts.vote_record(info(bytes.fromhex(WIRE["account_data_hex"]["voteRecord"])))
    assert (record.vote_type, record.vote) == (VoteKind.DISPUTE, True)


def test_an_account_of_another_owner_or_kind_is_refused():
    data = bytes.fromhex(WIRE["account_data_hex"]["userPosition"])
    with pytest.raises(DecodeError, match="owned by"):
        PROGRAM.accounts.position(info(data, owner=USER))
    with pytest.raises(DecodeError, match="discriminator"):
        PROGRAM.accounts.market(info(data))
    with pytest.raises(DecodeError, match="UserPosition"):
        PROGRAM.accounts.position(info(data[:-1]))


@given(st.binary(max_size=500))
def test_random_account_data_never_raises_anything_but_a_decode_error(raw):
    for name, decode in ACCOUNTS.items():
        try:
            decode(info(PROGRAM.idl.accounts[name[0].upper() + name[1:]] + raw))
        except DecodeError:
            continue


@given(st.binary(min_size=46, max_size=46))
def test_byte_arrays_become_text_that_a_database_takes_and_come_back(raw):
    text = text_of(raw)
    assert "\0" not in text
    assert text.isprintable()
    assert bytes_of(text, 46) == raw


def idl_without(tmp_path, change):
    document = json.loads(
        (Path(__file__).parents[2] / "src/zmart/chain/data/zmart_core.idl.json").read_text()
    )
    change(document)
    path = tmp_path / "idl.json"
    path.write_text(json.dumps(document))
    return path


def type_named(document, name):
    return next(t["type"] for t in document["types"] if t["name"] == name)


def test_an_older_idl_is_refused_by_the_field_that_differs(tmp_path):
    def older(document):
        fields = type_named(document, "WinningsClaimed")["fields"]
        fields[0] = {"name": "market_id", "type": {"array": ["u8", 32]}}

    with pytest.raises(ConfigError, match=r"WinningsClaimed.*market, market_id"):
        Program(PROGRAM.id, load_idl(idl_without(tmp_path, older)))


def test_an_idl_with_a_field_of_another_kind_is_refused(tmp_path):
    def other(document):
        type_named(document, "SharesBought")["fields"][1]["type"] = "u64"

    with pytest.raises(ConfigError, match=r"SharesBought.*user"):
        Program(PROGRAM.id, load_idl(idl_without(tmp_path, other)))


def test_an_idl_whose_states_are_others_is_refused(tmp_path):
    def fewer(document):
        type_named(document, "MarketState")["variants"].pop()

    with pytest.raises(ConfigError, match="MarketState"):
        Program(PROGRAM.id, load_idl(idl_without(tmp_path, fewer)))


def test_an_idl_without_an_event_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="MarketCancelled"):
        Program(
            PROGRAM.id,
            load_idl(
                idl_without(
                    tmp_path,
                    lambda d: d["events"].remove(
                        next(e for e in d["events"] if e["name"] == "MarketCancelled")
                    ),
                )
            ),
        )


def test_a_file_that_is_no_idl_is_one_sentence(tmp_path):
    path = tmp_path / "not.json"
    with pytest.raises(ConfigError, match="SOLANA_IDL_PATH"):
        load_idl(path)
    path.write_text("[]")
    with pytest.raises(ConfigError, match="SOLANA_IDL_PATH"):
        load_idl(path)


def test_an_instruction_whose_accounts_differ_in_the_idl_fails_loudly(tmp_path):
    def other(document):
        item = next(i for i in document["instructions"] if i["name"] == "approve_proposal")
        item["accounts"][0]["name"] = "backend_authority"

    program = Program(PROGRAM.id, load_idl(idl_without(tmp_path, other)))
    with pytest.raises(ConfigError, match="approve_proposal"):
        program.instructions.approve_proposal(ADMIN, MARKET_ID)


def test_a_program_id_that_is_none_names_its_setting():
    with pytest.raises(ConfigError, match="SOLANA_PROGRAM_ID_CORE"):
        Program.from_settings(Settings(_env_file=None, solana_program_id_core="6s8b"))


def test_error_codes_are_named_by_the_idl_and_by_anchor():
    assert PROGRAM.error(6029).name == "Unauthorized"
    assert PROGRAM.error(6027).name == "DisputePeriodNotEnded"
    assert PROGRAM.error(2006).name == "ConstraintSeeds"
    assert PROGRAM.error(3012).name == "AccountNotInitialized"
    assert PROGRAM.error(9_999).name == "Custom9999"


def test_transaction_errors_are_named():
    assert PROGRAM.transaction_error({"InstructionError": [0, {"Custom": 6007}]}).code == 6007
    assert PROGRAM.transaction_error("BlockhashNotFound").name == "BlockhashNotFound"
    assert PROGRAM.transaction_error({"InsufficientFundsForRent": {"account_index": 1}}).code == -1
    assert (
        PROGRAM.transaction_error({"InstructionError": [1, "MissingRequiredSignature"]}).name
        == "MissingRequiredSignature"
    )
    second_vote = PROGRAM.transaction_error(
        {"InstructionError": [0, {"Custom": 0}]},
        [
            f"Program {PROGRAM.address} invoke [1]",
            "Program 11111111111111111111111111111111 invoke [2]",
            "Program 11111111111111111111111111111111 failed: custom program error: 0x0",
            f"Program {PROGRAM.address} failed: custom program error: 0x0",
        ],
    )
    assert second_vote.name == "AccountAlreadyInUse"


def test_instruction_data_that_is_too_short_is_refused():
    data = bytes(CALLS["create_market"]().data)
    with pytest.raises(DecodeError):
        build.decode(data[:88])
    with pytest.raises(DecodeError):
        build.decode(struct.pack("<Q", 7))
