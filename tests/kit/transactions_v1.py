"""Signed transactions of version 1 (SIMD-0385)."""

from __future__ import annotations

from collections.abc import Sequence

from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV1, TransactionConfig
from solders.transaction import VersionedTransaction

LOADED_BYTES = 64 * 1024 * 1024


def signed_v1(
    payer: Keypair, instructions: Sequence[Instruction], blockhash: str, units: int = 600_000
) -> bytes:
    """Return the bytes of a signed transaction of version 1, with limits for compute units and loaded bytes.

    A message of version 1 names these limits itself; a limit that is not set is zero.
    """
    config = TransactionConfig(compute_unit_limit=units, loaded_accounts_data_size_limit=LOADED_BYTES)
    message = MessageV1.try_compile(payer.pubkey(), instructions, Hash.from_string(blockhash), config)
    return bytes(VersionedTransaction(message, [payer]))
