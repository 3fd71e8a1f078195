"""Read durable nonces.

A transaction with a durable nonce stays valid until the nonce account advances to its next value. It begins with
AdvanceNonceAccount of the System program, and holds the account's value in place of a blockhash:
https://solana.com/docs/core/transactions/durable-nonces.
"""

from __future__ import annotations

import msgspec
from solders.hash import Hash
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.transaction import VersionedTransaction

from zmart.chain.accounts import AccountInfo
from zmart.chain.rpc import Rpc
from zmart.chain.rpc_types import Commitment
from zmart.market.types import Address, Slot

_ADVANCE = (4).to_bytes(4, "little")
_ACCOUNT_BYTES = 80
_VALUE = slice(40, 72)  # after version and state (u32 each) and the authority


class DurableNonce(msgspec.Struct, frozen=True):
    """Name a nonce account and the value (base58) that it must hold when the transaction is executed."""

    account: Address
    value: str


class NonceState(msgspec.Struct, frozen=True):
    """State whether the nonce account held the expected value, as a node reported it at `slot`."""

    slot: Slot
    is_current: bool


def durable_nonce(transaction: VersionedTransaction) -> DurableNonce | None:
    """Return the durable nonce that a transaction uses, or None if it uses a blockhash."""
    message = transaction.message
    keys, first = message.account_keys, next(iter(message.instructions), None)
    if first is None or not first.accounts or not bytes(first.data).startswith(_ADVANCE):
        return None
    account = first.accounts[0]
    if account >= len(keys) or keys[first.program_id_index] != SYSTEM_PROGRAM:
        return None
    return DurableNonce(Address(str(keys[account])), str(message.recent_blockhash))


async def nonce_state(rpc: Rpc, nonce: DurableNonce, commitment: Commitment) -> NonceState:
    """Compare the nonce account's value on chain with `nonce.value`. Raises ChainError if the RPC fails."""
    slot, info = await rpc.get_account_with_slot(nonce.account, commitment)
    return NonceState(slot, _value(info) == nonce.value)


def _value(info: AccountInfo | None) -> str | None:
    if info is None or info.owner != str(SYSTEM_PROGRAM) or len(info.data) != _ACCOUNT_BYTES:
        return None
    return str(Hash.from_bytes(info.data[_VALUE]))
