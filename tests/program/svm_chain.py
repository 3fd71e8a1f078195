"""Run the program in LiteSVM: signed transactions, a clock that tests set, lamports counted in every transaction."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest
from borsh_oracle import (
    DATA,
    ERRORS,
    IDL,
    INSTRUCTIONS,
    Values,
    decode_account,
    decode_event,
    encode_instruction,
)
from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import ID as SYSTEM
from solders.transaction import Transaction
from solders.transaction_metadata import FailedTransactionMetadata
from solders.transaction_status import InstructionErrorCustom, TransactionErrorInstructionError

PROGRAM = Pubkey.from_string(IDL["address"])
SOL = 1_000_000_000
START = 1_762_772_000
DAY = 86_400
DISPUTE_PERIOD = 3 * DAY
CID = b"QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG"
EVIDENCE = b"QmT5NvUtoM5nWFfrQdVrFtvGfKFmG7AHE8P34isapyhCxX"
FEE_LAMPORTS = 5_000  # per signature
SPACES = {"GlobalConfig": 206, "MarketAccount": 488, "UserPosition": 182, "VoteRecord": 83}
FRAMEWORK = {
    "InstructionFallbackNotFound": 101,
    "InstructionDidNotDeserialize": 102,
    "ConstraintMut": 2000,
    "ConstraintHasOne": 2001,
    "ConstraintSeeds": 2006,
    "AccountDiscriminatorNotFound": 3001,
    "AccountDiscriminatorMismatch": 3002,
    "AccountDidNotDeserialize": 3003,
    "AccountDidNotSerialize": 3004,
    "AccountNotEnoughKeys": 3005,
    "AccountOwnedByWrongProgram": 3007,
    "InvalidProgramId": 3008,
    "AccountNotSigner": 3010,
    "AccountNotInitialized": 3012,
}
CODES = ERRORS | FRAMEWORK


def pda(*seeds: bytes) -> tuple[Pubkey, int]:
    return Pubkey.find_program_address(list(seeds), PROGRAM)


def config_address() -> Pubkey:
    return pda(b"global-config")[0]


def market_address(market_id: bytes) -> Pubkey:
    return pda(b"market", market_id)[0]


def position_address(market: Pubkey, user: Pubkey) -> Pubkey:
    return pda(b"position", bytes(market), bytes(user))[0]


def vote_address(market: Pubkey, user: Pubkey, vote_type: int) -> Pubkey:
    return pda(b"vote", bytes(market), bytes(user), bytes([vote_type]))[0]


class Wallet(Protocol):
    def pubkey(self) -> Pubkey: ...


@dataclass(frozen=True)
class NamedKey:
    """A wallet with a chosen address and no secret, for a chain that does not verify signatures."""

    key: Pubkey

    def pubkey(self) -> Pubkey:
        return self.key


class ProgramFailed(Exception):
    """The chain refused a transaction.

    `code` is the number of the program's custom error, None for an error of another kind. `name` is the error's name
    in the log, "" for a log without one.
    """

    def __init__(self, failed: FailedTransactionMetadata) -> None:
        self.logs = failed.meta().logs()
        self.error = failed.err()
        inner = self.error.err if isinstance(self.error, TransactionErrorInstructionError) else None
        self.code = inner.code if isinstance(inner, InstructionErrorCustom) else None
        line = next((log for log in self.logs if "Error Code: " in log), "")
        self.name = line.partition("Error Code: ")[2].partition(".")[0]
        super().__init__(f"{self.error!r}\n" + "\n".join(self.logs))


@contextmanager
def refused(name: str) -> Iterator[None]:
    """Assert that the block fails with this error of the program or of Anchor: check its number and its log line."""
    with pytest.raises(ProgramFailed) as caught:
        yield
    assert (caught.value.name, caught.value.code) == (name, CODES[name])
    start = (
        f"Program log: AnchorError occurred. Error Code: {name}. Error Number: {CODES[name]}. Error Message: "
    )
    assert any(line.startswith(start) for line in caught.value.logs)


@contextmanager
def refused_by_system(code: int) -> Iterator[None]:
    """Assert that the block fails in the System program with this code (0: account in use, 1: too few lamports)."""
    with pytest.raises(ProgramFailed) as caught:
        yield
    assert (caught.value.code, caught.value.name) == (code, "")
    assert f"Program {SYSTEM} failed: custom program error: {code:#x}" in caught.value.logs


@dataclass
class Sent:
    """A transaction that succeeded: its log, its compute units, its fee in lamports and the program's events."""

    logs: list[str]
    units: int
    fee: int
    events: list[tuple[str, Values]] = field(init=False)
    raw_events: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        prefix = "Program data: "
        self.raw_events = [
            base64.b64decode(log[len(prefix) :]) for log in self.logs if log.startswith(prefix)
        ]
        self.events = [decode_event(raw) for raw in self.raw_events]

    @property
    def event(self) -> Values:
        [(_, fields)] = self.events
        return fields


class Chain:
    """A LiteSVM with the program. A separate wallet pays the fees of all transactions, so that only the instructions
    change the balances of other accounts."""

    def __init__(self, *, sigverify: bool = True) -> None:
        self.svm = LiteSVM().with_sigverify(sigverify)
        self.svm.add_program(PROGRAM, (DATA / "zmart_core.so").read_bytes())
        self.sigverify = sigverify
        self.payer = self.wallet(1_000_000)
        self.at(START)

    def wallet(self, sol: float = 1_000) -> Keypair:
        keypair = Keypair()
        self.put(keypair.pubkey(), b"", lamports=int(sol * SOL), owner=SYSTEM)
        return keypair

    @property
    def now(self) -> int:
        return self.svm.get_clock().unix_timestamp

    def at(self, unix_timestamp: int) -> None:
        clock = self.svm.get_clock()
        clock.unix_timestamp = unix_timestamp
        self.svm.set_clock(clock)

    def wait(self, seconds: int) -> None:
        self.at(self.now + seconds)

    def lamports(self, key: Pubkey) -> int:
        return self.svm.get_balance(key) or 0

    def data(self, key: Pubkey) -> bytes:
        account = self.svm.get_account(key)
        assert account is not None, f"no account at {key}"
        return bytes(account.data)

    def read(self, name: str, key: Pubkey) -> Values:
        return decode_account(name, self.data(key))

    def put(self, key: Pubkey, data: bytes, *, lamports: int | None = None, owner: Pubkey = PROGRAM) -> None:
        held = self.svm.minimum_balance_for_rent_exemption(len(data)) if lamports is None else lamports
        self.svm.set_account(key, Account(held, data, owner))

    def send(self, *instructions: Instruction, signers: list[Wallet] | None = None) -> Sent:
        """Sign and send a transaction. Raises ProgramFailed if the chain refuses it.

        Asserts that the accounts of the transaction together lost the fee and no other lamport.
        """
        self.svm.expire_blockhash()
        message = Message.new_with_blockhash(
            list(instructions), self.payer.pubkey(), self.svm.latest_blockhash()
        )
        if self.sigverify:
            transaction = Transaction([self.payer, *(signers or [])], message, message.recent_blockhash)
        else:
            needed = message.header.num_required_signatures
            transaction = Transaction.populate(message, [Signature.new_unique() for _ in range(needed)])
        before = sum(self.lamports(key) for key in message.account_keys)
        result = self.svm.send_transaction(transaction)
        if isinstance(result, FailedTransactionMetadata):
            raise ProgramFailed(result)
        fee = FEE_LAMPORTS * message.header.num_required_signatures
        after = sum(self.lamports(key) for key in message.account_keys)
        assert after == before - fee, f"{before - fee - after} lamports went missing"
        return Sent(result.logs(), result.compute_units_consumed(), fee)


def instruction(name: str, accounts: dict[str, Pubkey], **arguments: Any) -> Instruction:
    """Build an instruction of the program, with the accounts in the order and with the flags of the IDL."""
    metas = [
        AccountMeta(accounts[slot["name"]], slot.get("signer", False), slot.get("writable", False))
        for slot in INSTRUCTIONS[name]["accounts"]
    ]
    return Instruction(PROGRAM, encode_instruction(name, **arguments), metas)
