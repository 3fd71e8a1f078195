"""I4: transactions that use a durable nonce instead of a recent blockhash are recognized."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from solders.hash import Hash
from solders.instruction import AccountMeta, CompiledInstruction, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageAddressTableLookup, MessageHeader, MessageV0, MessageV1
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM
from solders.system_program import AdvanceNonceAccountParams, TransferParams, advance_nonce_account, transfer
from solders.transaction import VersionedTransaction

from zmart.chain.nonces import DurableNonce, durable_nonce

PAYER, ACCOUNT, VALUE = Keypair(), Keypair().pubkey(), Hash.new_unique()
ADVANCE = advance_nonce_account(
    AdvanceNonceAccountParams(nonce_pubkey=ACCOUNT, authorized_pubkey=PAYER.pubkey())
)
PAY = transfer(TransferParams(from_pubkey=PAYER.pubkey(), to_pubkey=Keypair().pubkey(), lamports=5))


def signed(kind: str, calls: Sequence[Instruction]) -> VersionedTransaction:
    match kind:
        case "legacy":
            return VersionedTransaction(Message.new_with_blockhash(calls, PAYER.pubkey(), VALUE), [PAYER])
        case "v0":
            return VersionedTransaction(MessageV0.try_compile(PAYER.pubkey(), calls, [], VALUE), [PAYER])
        case _:
            return VersionedTransaction(MessageV1.try_compile(PAYER.pubkey(), calls, VALUE), [PAYER])


@pytest.mark.parametrize("kind", ["legacy", "v0", "v1"])
def test_a_transaction_that_begins_by_advancing_a_nonce_lives_by_it(kind: str) -> None:
    result = durable_nonce(VersionedTransaction.from_bytes(bytes(signed(kind, [ADVANCE, PAY]))))
    assert result == DurableNonce(str(ACCOUNT), str(VALUE))


@pytest.mark.parametrize(
    "calls",
    [
        [],
        [PAY],
        [PAY, ADVANCE],
        [Instruction(SYSTEM, b"\4\0\0", [AccountMeta(ACCOUNT, False, True)])],
        [Instruction(SYSTEM, b"\4\0\0\0", [])],
        [Instruction(Pubkey.new_unique(), b"\4\0\0\0", [AccountMeta(ACCOUNT, False, True)])],
    ],
    ids=["nothing", "a transfer", "advancing later", "short data", "no account", "another program"],
)
def test_every_other_one_lives_by_its_blockhash(calls: list[Instruction]) -> None:
    assert durable_nonce(signed("v0", calls)) is None


def test_a_nonce_account_out_of_a_lookup_table_is_none() -> None:
    """A nonce account from a lookup table does not count: validators require it among the message's own accounts."""
    call = CompiledInstruction(1, b"\4\0\0\0", bytes([2, 0]))
    table = MessageAddressTableLookup(Pubkey.new_unique(), b"\0", b"")
    message = MessageV0(MessageHeader(1, 0, 1), [PAYER.pubkey(), SYSTEM], VALUE, [call], [table])
    assert durable_nonce(VersionedTransaction.populate(message, [PAYER.sign_message(b"x")])) is None
