"""Calls of the program by another program, a relay that chooses the flags of the accounts (case A19)."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM
from svm_chain import PROGRAM, SOL, NamedKey, ProgramFailed, refused
from svm_harness import Market, Zmart

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "programs" / "zmart_core"))
from build import compile_object  # noqa: E402
from linker import link  # noqa: E402

RELAY = Pubkey.from_bytes(b"relay" + b"\x09" * 27)
VAULT, BUMP = Pubkey.find_program_address([b"vault"], RELAY)
SMALL = SOL // 100


@cache
def relay_program() -> bytes:
    return link(compile_object(HERE / "relay.c"))


class Stage:
    """A finalized market with noted debts: fees to the relay's vault, a reward to the resolver. One claim is open."""

    def __init__(self) -> None:
        self.resolver = Keypair()
        self.zmart = Zmart(roles={"fee_wallet": NamedKey(VAULT)})
        self.chain = self.zmart.chain
        self.chain.svm.add_program(RELAY, relay_program())
        self.market: Market = self.zmart.open()
        self.holders = [self.chain.wallet() for _ in range(2)]
        for holder in self.holders:
            self.zmart.buy(self.market, holder, True, SMALL)
        self.fees = self.zmart.market(self.market)["accumulated_protocol_fees"]
        self.reward = self.zmart.market(self.market)["accumulated_resolver_fees"]
        self.zmart.finish(self.market, self.resolver, True)
        self.zmart.claim(self.market, self.holders[0])
        assert self.owed == (self.reward, self.fees)

    @property
    def owed(self) -> tuple[int, int]:
        return self.zmart.owed(self.market)

    def fund(self, key: Pubkey) -> None:
        self.chain.put(key, b"", lamports=SOL, owner=SYSTEM)

    def withdrawal(self, signer: Pubkey) -> Instruction:
        return self.zmart.build("withdraw_liquidity", market=self.market.key, creator=signer)

    def claim(self) -> Instruction:
        accounts = self.zmart.position_accounts(self.market, self.holders[1])
        return self.zmart.build("claim_winnings", resolver=self.resolver.pubkey(), **accounts)


def relayed(call: Instruction, also: list[AccountMeta] | None = None, **changed: int) -> Instruction:
    """Return an instruction by which the relay executes `call`, with the accounts `also` added.

    `changed` replaces the flags of accounts: place_5=0 makes the account at index 5 neither writable (1) nor a
    signer (2).
    """
    inner = [*call.accounts, *(also or [])]
    flags = [meta.is_writable + 2 * meta.is_signer for meta in inner]
    for position, value in changed.items():
        flags[int(position.removeprefix("place_"))] = value
    outer = [
        AccountMeta(meta.pubkey, meta.is_signer and meta.pubkey != VAULT, meta.is_writable) for meta in inner
    ]
    data = bytes([BUMP, *flags]) + bytes(call.data)
    return Instruction(RELAY, data, [AccountMeta(PROGRAM, False, False), *outer])


def test_a_fee_wallet_of_a_multisig_withdraws_its_debt_by_its_program() -> None:
    stage = Stage()
    stage.fund(VAULT)
    event = stage.chain.send(relayed(stage.withdrawal(VAULT))).event
    assert (event["creator"], event["amount"]) == (VAULT, stage.fees)
    assert stage.chain.lamports(VAULT) == SOL + stage.fees
    assert stage.owed == (stage.reward, 0)
    stage.zmart.books_hold(stage.market)
    with refused("Unauthorized"):
        stage.chain.send(relayed(stage.withdrawal(VAULT)))


def test_a_program_cannot_sign_for_a_wallet_that_did_not() -> None:
    stage = Stage()
    stage.fund(stage.resolver.pubkey())
    call = relayed(stage.withdrawal(stage.resolver.pubkey()))
    unsigned = [AccountMeta(meta.pubkey, False, meta.is_writable) for meta in call.accounts]
    with pytest.raises(ProgramFailed, match="signer privilege escalated"):
        stage.chain.send(Instruction(RELAY, bytes(call.data), unsigned))
    assert stage.owed == (stage.reward, stage.fees)


def test_a_claim_that_hides_the_resolvers_writable_flag_is_refused_not_noted() -> None:
    """A caller cannot postpone the resolver's payment by leaving out the writable flag of its account."""
    stage = Stage()
    stage.fund(stage.resolver.pubkey())
    with refused("ConstraintMut"):
        stage.chain.send(relayed(stage.claim(), place_4=0), signers=[stage.holders[1]])
    assert stage.owed == (stage.reward, stage.fees)


@pytest.mark.parametrize("flags", [(1, 1), (0, 1), (1, 0), (0, 0)])
def test_a_creditor_behind_twice_is_paid_once_and_only_where_it_is_writable(flags: tuple[int, int]) -> None:
    stage = Stage()
    stage.fund(VAULT)
    after = [AccountMeta(VAULT, False, True)] * 2
    call = relayed(stage.claim(), after, place_6=flags[0], place_7=flags[1])
    stage.chain.send(call, signers=[stage.holders[1]])
    paid = stage.fees if any(flags) else 0
    assert stage.chain.lamports(VAULT) == SOL + paid
    assert stage.owed[1] == stage.fees - paid
    stage.zmart.books_hold(stage.market)
