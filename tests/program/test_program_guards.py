"""Every instruction refuses accounts, signers and data that the IDL does not allow, with Anchor's error codes."""

from __future__ import annotations

import pytest
from borsh_oracle import INSTRUCTIONS
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM
from svm_chain import PROGRAM, SOL, Chain, ProgramFailed, Sent, refused
from svm_scenarios import SCENARIOS, Scenario

MADE_HERE = {
    ("initialize_global_config", "global_config"),
    ("create_market", "market"),
    ("submit_proposal_vote", "vote_record"),
    ("submit_dispute_vote", "vote_record"),
    ("buy_shares", "position"),
}
KINDS = {"global_config", "market", "position"}
SLOTS = [(name, slot) for name, item in INSTRUCTIONS.items() for slot in item["accounts"]]
SIGNED = [(name, slot["name"]) for name, slot in SLOTS if slot.get("signer")]
WRITTEN = [(name, slot["name"]) for name, slot in SLOTS if slot.get("writable")]
READ = [(name, slot["name"]) for name, slot in SLOTS if slot["name"] in KINDS]
READ = [pair for pair in READ if pair not in MADE_HERE]
MADE = sorted(MADE_HERE)
SYSTEMIC = [name for name, slot in SLOTS if slot["name"] == "system_program"]
WITH_ARGUMENTS = [name for name, item in INSTRUCTIONS.items() if item["args"]]


def position_of(name: str, account: str) -> int:
    return [slot["name"] for slot in INSTRUCTIONS[name]["accounts"]].index(account)


def send(scenario: Scenario, metas: list[AccountMeta] | None = None, data: bytes | None = None) -> Sent:
    usual = scenario.instruction
    accounts = usual.accounts if metas is None else metas
    changed = Instruction(PROGRAM, bytes(usual.data) if data is None else data, accounts)
    signed = any(meta.is_signer for meta in accounts)
    return scenario.chain.send(changed, signers=[scenario.signer] if signed else [])


def replaced(scenario: Scenario, index: int, key: Pubkey) -> list[AccountMeta]:
    metas = list(scenario.instruction.accounts)
    metas[index] = AccountMeta(key, metas[index].is_signer, metas[index].is_writable)
    return metas


def stray_account(chain: Chain, data: bytes, owner: Pubkey = PROGRAM) -> Pubkey:
    key = Keypair().pubkey()
    chain.put(key, data, owner=owner)
    return key


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_the_scenario_itself_succeeds_and_logs_like_anchor(name: str) -> None:
    sent = send(SCENARIOS[name]())
    camel = "".join(part.capitalize() for part in name.split("_"))
    assert sent.logs[1] == f"Program log: Instruction: {camel}"
    assert len(sent.events) == 1


@pytest.mark.parametrize(("name", "account"), SIGNED)
def test_a_missing_signature_is_refused(name: str, account: str) -> None:
    scenario = SCENARIOS[name]()
    index = position_of(name, account)
    metas = list(scenario.instruction.accounts)
    metas[index] = AccountMeta(metas[index].pubkey, False, metas[index].is_writable)
    with refused("AccountNotSigner"):
        send(scenario, metas)


@pytest.mark.parametrize(("name", "account"), WRITTEN)
def test_an_account_that_may_not_be_written_is_refused(name: str, account: str) -> None:
    scenario = SCENARIOS[name]()
    index = position_of(name, account)
    metas = list(scenario.instruction.accounts)
    metas[index] = AccountMeta(metas[index].pubkey, metas[index].is_signer, False)
    with refused("ConstraintMut"):
        send(scenario, metas)


@pytest.mark.parametrize(("name", "account"), READ)
def test_an_account_that_does_not_exist_is_refused(name: str, account: str) -> None:
    scenario = SCENARIOS[name]()
    with refused("AccountNotInitialized"):
        send(scenario, replaced(scenario, position_of(name, account), Keypair().pubkey()))


@pytest.mark.parametrize(("name", "account"), READ)
@pytest.mark.parametrize("owner", [SYSTEM, Keypair().pubkey()], ids=["wallet", "foreign program"])
def test_the_same_bytes_under_another_owner_are_refused(name: str, account: str, owner: Pubkey) -> None:
    scenario = SCENARIOS[name]()
    index = position_of(name, account)
    copy = scenario.chain.data(scenario.instruction.accounts[index].pubkey)
    forged = stray_account(scenario.chain, b"" if owner == SYSTEM else copy, owner)
    with refused("AccountOwnedByWrongProgram"):
        send(scenario, replaced(scenario, index, forged))


@pytest.mark.parametrize(("name", "account"), READ)
def test_another_kind_of_account_is_refused(name: str, account: str) -> None:
    scenario = SCENARIOS[name]()
    index = position_of(name, account)
    copy = scenario.chain.data(scenario.instruction.accounts[index].pubkey)
    with refused("AccountDiscriminatorMismatch"):
        send(scenario, replaced(scenario, index, stray_account(scenario.chain, b"\xff" + copy[1:])))


@pytest.mark.parametrize(("name", "account"), READ)
@pytest.mark.parametrize(
    ("kept", "error"),
    [
        (0, "AccountDiscriminatorNotFound"),
        (7, "AccountDiscriminatorNotFound"),
        (100, "AccountDidNotDeserialize"),
    ],
)
def test_a_cut_account_is_refused(name: str, account: str, kept: int, error: str) -> None:
    scenario = SCENARIOS[name]()
    index = position_of(name, account)
    copy = scenario.chain.data(scenario.instruction.accounts[index].pubkey)
    with refused(error):
        send(scenario, replaced(scenario, index, stray_account(scenario.chain, copy[:kept])))


@pytest.mark.parametrize(("name", "account"), READ)
def test_a_true_copy_at_another_address_is_refused(name: str, account: str) -> None:
    scenario = SCENARIOS[name]()
    index = position_of(name, account)
    copy = scenario.chain.data(scenario.instruction.accounts[index].pubkey)
    with refused("ConstraintSeeds"):
        send(scenario, replaced(scenario, index, stray_account(scenario.chain, copy)))


@pytest.mark.parametrize(("name", "account"), MADE)
def test_an_account_to_make_must_have_its_derived_address(name: str, account: str) -> None:
    scenario = SCENARIOS[name]()
    with refused("ConstraintSeeds"):
        send(scenario, replaced(scenario, position_of(name, account), Keypair().pubkey()))


@pytest.mark.parametrize(("name", "account"), MADE)
@pytest.mark.parametrize("lamports", [1, 10 * SOL], ids=["dust", "more than the rent"])
def test_lamports_sent_ahead_do_not_block_an_account(name: str, account: str, lamports: int) -> None:
    plain, ahead = SCENARIOS[name](), SCENARIOS[name]()
    index = position_of(name, account)
    key = ahead.instruction.accounts[index].pubkey
    ahead.chain.put(key, b"", lamports=lamports, owner=SYSTEM)
    send(plain)
    send(ahead)
    made = plain.chain.svm.get_account(plain.instruction.accounts[index].pubkey)
    taken = ahead.chain.svm.get_account(key)
    assert made is not None
    assert taken is not None
    assert (len(taken.data), taken.owner) == (len(made.data), PROGRAM)
    assert taken.lamports >= ahead.chain.svm.minimum_balance_for_rent_exemption(len(taken.data))


@pytest.mark.parametrize("name", SYSTEMIC)
def test_another_program_in_place_of_the_system_program_is_refused(name: str) -> None:
    scenario = SCENARIOS[name]()
    with refused("InvalidProgramId"):
        send(scenario, replaced(scenario, position_of(name, "system_program"), PROGRAM))


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_too_few_accounts_are_refused(name: str) -> None:
    scenario = SCENARIOS[name]()
    with refused("AccountNotEnoughKeys"):
        send(scenario, scenario.instruction.accounts[:-1])
    with refused("AccountNotEnoughKeys"):
        send(scenario, [])


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_more_accounts_and_more_bytes_than_needed_are_ignored(name: str) -> None:
    scenario = SCENARIOS[name]()
    usual = scenario.instruction.accounts
    strays = [stray_account(scenario.chain, b"\1" * size) for size in range(15)]
    extra = [AccountMeta(key, False, index % 2 == 0) for index, key in enumerate(strays)]
    send(scenario, [*usual, *extra, *usual, *extra], bytes(scenario.instruction.data) + b"\xff\xff")


@pytest.mark.parametrize("name", WITH_ARGUMENTS)
def test_arguments_cut_short_are_refused(name: str) -> None:
    scenario = SCENARIOS[name]()
    data = bytes(scenario.instruction.data)
    for length in (8, len(data) - 1):
        with refused("InstructionDidNotDeserialize"):
            send(scenario, data=data[:length])


@pytest.mark.parametrize("name", ["buy_shares", "sell_shares", "resolve_market", "submit_proposal_vote"])
def test_a_flag_that_is_neither_0_nor_1_is_refused(name: str) -> None:
    scenario = SCENARIOS[name]()
    data = bytearray(scenario.instruction.data)
    data[8] = 2
    with refused("InstructionDidNotDeserialize"):
        send(scenario, data=bytes(data))


@pytest.mark.parametrize("data", [b"", b"\1" * 7, b"\1" * 8, b"\0" * 300])
def test_an_unknown_instruction_is_refused(data: bytes) -> None:
    scenario = SCENARIOS["emergency_pause"]()
    with refused("InstructionFallbackNotFound"):
        send(scenario, data=data)


def test_the_log_names_the_account_that_was_refused() -> None:
    scenario = SCENARIOS["emergency_pause"]()
    stray = Keypair().pubkey()
    with pytest.raises(ProgramFailed) as caught:
        send(scenario, replaced(scenario, 1, stray))
    assert f"Program log: {stray}" in caught.value.logs
