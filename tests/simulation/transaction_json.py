"""A landed transaction as a node returns it: getTransaction with the encoding "json"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import base58
import msgspec

if TYPE_CHECKING:
    from simulated_chain import LandedTransaction


def told(tx: LandedTransaction) -> dict:
    """Return the `result` of getTransaction as JSON values."""
    message, meta = tx.tx.message, tx.meta
    header = message.header
    return {
        "slot": tx.slot,
        "blockTime": tx.time,
        "version": 0,
        "transaction": {
            "signatures": [str(signature) for signature in tx.tx.signatures],
            "message": {
                "accountKeys": [str(key) for key in message.account_keys],
                "header": {
                    "numRequiredSignatures": header.num_required_signatures,
                    "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
                    "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
                },
                "recentBlockhash": str(message.recent_blockhash),
                "addressTableLookups": [],
                "instructions": [_instruction(item, None) for item in message.instructions],
            },
        },
        "meta": {
            "err": tx.err,
            "status": {"Ok": None} if tx.err is None else {"Err": tx.err},
            "fee": meta.fee(),
            "logMessages": list(meta.logs()),
            "innerInstructions": [
                {
                    "index": index,
                    "instructions": [_instruction(i.instruction(), i.stack_height()) for i in group],
                }
                for index, group in enumerate(meta.inner_instructions())
                if group
            ],
            "loadedAddresses": {"writable": [], "readonly": []},
            "computeUnitsConsumed": meta.compute_units_consumed(),
        },
    }


def raw_of(tx: LandedTransaction) -> bytes:
    return msgspec.json.encode(told(tx))


def _instruction(item, height: int | None) -> dict:
    return {
        "programIdIndex": item.program_id_index,
        "accounts": list(item.accounts),
        "data": base58.b58encode(bytes(item.data)).decode(),
        "stackHeight": height,
    }
