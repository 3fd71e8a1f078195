"""Transactions as bytes, valid ones and malformed ones, each with a name."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from solders.hash import Hash
from solders.instruction import CompiledInstruction, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageAddressTableLookup, MessageHeader, MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
SYSTEM = Pubkey.default()
LAMPORTS = 10_000_000
TRANSFER = struct.pack("<IQ", 2, LAMPORTS)
BUDGET = (0b1100, struct.pack("<II", 200_000, 65_536))
Call = tuple[int, bytes, bytes]
Case = tuple[str, bytes]


def v1(
    payer: Keypair,
    blockhash: Hash,
    *,
    header: tuple[int, int, int] = (1, 0, 1),
    config: tuple[int, bytes] = BUDGET,
    keys: Sequence[bytes] | None = None,
    calls: Sequence[Call] = ((2, bytes([0, 1]), TRANSFER),),
    trailing: bytes = b"",
) -> bytes:
    """Return a transaction of version 1 (SIMD-0385), built field by field without checks.

    By default it is a valid transfer to a new account.
    """
    if keys is None:
        keys = [bytes(payer.pubkey()), bytes(Keypair().pubkey()), bytes(SYSTEM)]
    mask, values = config
    message = bytes([0x81, *header]) + struct.pack("<I", mask) + bytes(blockhash)
    message += bytes([len(calls), len(keys)]) + b"".join(keys) + values
    message += b"".join(struct.pack("<BBH", program, len(a), len(d)) for program, a, d in calls)
    message += b"".join(accounts + data for _, accounts, data in calls)
    return message + bytes(payer.sign_message(message)) * header[0] + trailing


def sound_v1(payer: Keypair, blockhash: Hash) -> Iterator[Case]:
    """Yield transactions of version 1 that a validator executes."""
    yield "v1", v1(payer, blockhash)
    yield (
        "v1 with a priority fee",
        v1(payer, blockhash, config=(0b1111, struct.pack("<QII", 5, 200_000, 65_536))),
    )
    keys = [bytes(payer.pubkey()), bytes(MEMO)]
    roomy = (0b1100, struct.pack("<II", 1_400_000, 655_360))
    for size in (1_100, 4_096 - 182):  # the second makes exactly 4,096 bytes
        note = v1(payer, blockhash, config=roomy, keys=keys, calls=[(1, b"", b"a" * size)])
        yield f"v1 of {len(note)} bytes", note


def broken_v1(payer: Keypair, blockhash: Hash) -> Iterator[Case]:
    def of(**changes: Any) -> bytes:
        return v1(payer, blockhash, **changes)

    me, others = bytes(payer.pubkey()), [bytes(Keypair().pubkey()) for _ in range(64)]
    yield "no signer", of(header=(0, 0, 1))
    yield "13 signers", of(header=(13, 0, 0), keys=[me, *others[:12], bytes(SYSTEM)])
    yield "an account twice", of(keys=[me, me, bytes(SYSTEM)])
    yield "a payer that is read-only", of(header=(1, 1, 1))
    yield "more accounts announced than listed", of(header=(1, 0, 3))
    yield "an account index outside", of(calls=[(2, bytes([0, 9]), TRANSFER)])
    yield "a program index outside", of(calls=[(200, bytes([0, 1]), TRANSFER)])
    yield "the payer as a program", of(calls=[(0, bytes([0, 1]), TRANSFER)])
    yield "65 instructions", of(calls=[(2, bytes([0, 1]), TRANSFER)] * 65)
    yield "65 accounts", of(keys=[me, *others[:63], bytes(SYSTEM)], calls=[(64, bytes([0, 1]), TRANSFER)])
    yield "half a priority fee", of(config=(0b1101, struct.pack("<III", 5, 200_000, 65_536)))
    yield "unknown settings", of(config=(0b101100, struct.pack("<III", 200_000, 65_536, 1)))
    yield "every setting", of(config=(2**32 - 1, bytes(128)))
    yield "a heap of one byte", of(config=(0b11100, struct.pack("<III", 200_000, 65_536, 1)))
    memo = [bytes(payer.pubkey()), bytes(MEMO)]
    yield "4,097 bytes", of(keys=memo, calls=[(1, b"", b"a" * (4_097 - 182))])
    yield "65,000 bytes", of(keys=memo, calls=[(1, b"", b"a" * 65_000)])
    good = of()
    for byte in (0x80, *range(0x82, 0x100)):
        yield f"version byte {byte:#x}", bytes([byte]) + good[1:]
    for truncated in (*range(0, 140, 7), *range(140, len(good), 17)):
        yield f"cut after {truncated}", good[:truncated]


def older(payer: Keypair, blockhash: Hash, table: Pubkey) -> Iterator[Case]:
    """Yield valid transactions, legacy and of version 0; `table` is a lookup table with one address."""
    pay = [
        transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=Keypair().pubkey(), lamports=LAMPORTS))
    ]
    legacy = Message.new_with_blockhash(pay, payer.pubkey(), blockhash)
    yield "legacy", bytes(VersionedTransaction(legacy, [payer]))
    pay = [
        transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=Keypair().pubkey(), lamports=LAMPORTS))
    ]
    plain = MessageV0.try_compile(payer.pubkey(), pay, [], blockhash)
    yield "v0", bytes(VersionedTransaction(plain, [payer]))
    yield "v0 with a table", _looked(payer, blockhash, table, b"\0")


def broken_older(payer: Keypair, blockhash: Hash, table: Pubkey) -> Iterator[Case]:
    yield "v0 with a table that is not there", _looked(payer, blockhash, Keypair().pubkey(), b"\0")
    yield "v0 with a table that is none", _looked(payer, blockhash, SYSTEM, b"\0")
    yield "v0 beyond the table's end", _looked(payer, blockhash, table, bytes([200]))
    yield "v0 with a table for nothing", _looked(payer, blockhash, table, b"")
    pay = [
        transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=Keypair().pubkey(), lamports=LAMPORTS))
    ]
    message = bytes(Message.new_with_blockhash(pay, payer.pubkey(), blockhash))
    mine = bytes(payer.sign_message(message))

    def wire(*signatures: bytes, body: bytes = message) -> bytes:
        return bytes([len(signatures)]) + b"".join(signatures) + body

    yield "two signatures of one signer", wire(mine, mine)
    yield "no signature", wire()
    yield "an empty signature", wire(bytes(64))
    no_signer = b"\0\0\1" + message[3:]
    yield "no signer, no signature", wire(body=no_signer)
    yield "no signer, one signature", wire(bytes(payer.sign_message(no_signer)), body=no_signer)
    outside = message[:-15] + bytes([9]) + message[-14:]
    yield "an index outside", wire(bytes(payer.sign_message(outside)), body=outside)
    plain = bytes(MessageV0.try_compile(payer.pubkey(), pay, [], blockhash))
    for version in (1, 2, 127):
        body = bytes([0x80 | version]) + plain
        yield f"signatures before version {version}", wire(bytes(payer.sign_message(body)), body=body)
    long = Instruction(MEMO, b"a" * 2_000, [])
    big = Message.new_with_blockhash([long], payer.pubkey(), blockhash)
    yield "legacy of 2,170 bytes", bytes(VersionedTransaction(big, [payer]))


def _looked(payer: Keypair, blockhash: Hash, table: Pubkey, indexes: bytes) -> bytes:
    call = CompiledInstruction(1, TRANSFER, bytes([0, 2]))
    lookup = MessageAddressTableLookup(table, indexes, b"")
    message = MessageV0(MessageHeader(1, 0, 1), [payer.pubkey(), SYSTEM], blockhash, [call], [lookup])
    return bytes(VersionedTransaction.populate(message, [payer.sign_message(b"\x80" + bytes(message))]))


def mutations(payer: Keypair, good: Sequence[bytes], chance: random.Random, number: int) -> Iterator[Case]:
    """Yield `number` cases: random bytes, and transactions of `good` with changed bytes, half of them re-signed."""
    for at in range(number):
        kind = at % 3
        base = bytearray(chance.choice(good))
        if kind == 0:
            yield f"noise {at}", chance.randbytes(chance.choice([0, 1, 2, 65, 66, 200, 1_232, 1_233, 4_097]))
            continue
        for _ in range(chance.randint(1, 3)):
            base[chance.randrange(len(base))] = chance.choice([0, 1, 2, 3, 255, chance.randrange(256)])
        yield f"changed {at}", _signed_again(payer, bytes(base)) if kind == 1 else bytes(base)


def _signed_again(payer: Keypair, raw: bytes) -> bytes:
    if raw[0] == 0x81:
        return raw[:-64] + bytes(payer.sign_message(raw[:-64]))
    return raw[:1] + bytes(payer.sign_message(raw[65:])) + raw[65:]
