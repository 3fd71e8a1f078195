"""Build transactions in the shape in which Helius posts them, from the RPC node's responses."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from itertools import count

import msgspec

from zmart.chain.json_rpc import decode_answer
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.market.json_input import JSON_ERRORS
from zmart.market.types import Signature, Slot

_EARLIEST_TIME = 1_000_000_000
_SLOTS_REMEMBERED = 32
_TRIES = 8
FIRST_WAIT_S = 0.05


class RawTransaction(msgspec.Struct, frozen=True, rename="camel"):
    """A transaction as an element of a raw webhook's body; `block_time` is in Unix seconds."""

    block_time: int | None
    index_within_block: int
    meta: msgspec.Raw
    slot: int
    transaction: msgspec.Raw
    version: msgspec.Raw


class _FetchedPayload(msgspec.Struct, rename="camel"):
    slot: Slot
    meta: msgspec.Raw
    transaction: msgspec.Raw
    block_time: int | None = None
    version: msgspec.Raw = msgspec.Raw(b'"legacy"')


class PayloadMeta(msgspec.Struct):
    """The error and the fee in lamports of a transaction, from its `meta`. `err` is None if it succeeded."""

    err: object = None
    fee: int = 0


class _PayloadMessage(msgspec.Struct, rename="camel"):
    account_keys: list[str]


class _ParsedPayload(msgspec.Struct):
    signatures: list[str]
    message: _PayloadMessage


class TransactionSource:
    """Fetch transactions that a node has just announced; the node may need some time until it returns them."""

    def __init__(self, rpc: Rpc, first_wait_s: float = FIRST_WAIT_S) -> None:
        self._rpc = rpc
        self._first_wait_s = first_wait_s
        self._blocks: OrderedDict[Slot, list[Signature]] = OrderedDict()

    async def fetch(self, signature: Signature) -> RawTransaction | None:
        """Return the transaction with its position in the block. Raises ChainError.

        Returns None if the node does not return both in eight tries, between which 1.4 s pass by default.
        """
        for tries in count(1):
            fetched = await self._transaction(signature)
            index = await self._index(fetched.slot, signature) if fetched else None
            if fetched is not None and index is not None:
                time = await self._time(fetched.block_time)
                return RawTransaction(
                    time, index, fetched.meta, fetched.slot, fetched.transaction, fetched.version
                )
            if tries == _TRIES:
                return None
            await asyncio.sleep(self._first_wait_s * tries)
        raise AssertionError("the loop ends by returning")

    async def _transaction(self, signature: Signature) -> _FetchedPayload | None:
        raw = await self._rpc.get_transaction_json(signature)
        return None if raw is None else decode_answer(_FetchedPayload, "getTransaction", raw)

    async def _index(self, slot: Slot, signature: Signature) -> int | None:
        """Return a transaction's position in its block; None while the node's block does not contain it yet."""
        known = self._blocks.get(slot, [])
        if signature not in known:
            known = self._blocks[slot] = await self._rpc.get_block_signatures(slot) or []
            while len(self._blocks) > _SLOTS_REMEMBERED:
                self._blocks.popitem(last=False)
        return known.index(signature) if signature in known else None

    async def _time(self, block_time: int | None) -> int:
        """Return the block's time in Unix seconds.

        If the node gives no plausible time (Surfpool's is a thousandth of the right one), the chain's present time is
        returned.
        """
        if block_time is not None and block_time >= _EARLIEST_TIME:
            return block_time
        return (await self._rpc.get_clock()).unix_timestamp


def meta_of(transaction: RawTransaction) -> PayloadMeta:
    """Decode error and fee from a transaction's `meta`. Raises ChainError."""
    try:
        return msgspec.json.decode(transaction.meta, type=PayloadMeta)
    except JSON_ERRORS as problem:
        raise ChainError(f"The node's transaction has no usable meta: {problem}.") from None


def enhanced(transaction: RawTransaction) -> dict[str, object]:
    """Build the element of an enhanced webhook's body for a transaction, as for one that Helius cannot parse."""
    meta = meta_of(transaction)
    parsed = msgspec.json.decode(transaction.transaction, type=_ParsedPayload)
    return {
        "description": "",
        "type": "UNKNOWN",
        "source": "UNKNOWN",
        "fee": meta.fee,
        "feePayer": parsed.message.account_keys[0],
        "signature": parsed.signatures[0],
        "slot": transaction.slot,
        "timestamp": transaction.block_time,
        "nativeTransfers": [],
        "tokenTransfers": [],
        "accountData": [],
        "transactionError": meta.err,
        "instructions": [],
        "events": {},
    }
